// Package protection lets a task protect itself from scale-in (docs/spec/04 chapter 4):
// it asks ECS with the task's own role.
package protection
