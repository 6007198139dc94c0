// Package session is the way into a container of the local ECS: what aws ecs
// execute-command, its session-manager-plugin and the agent in the container say to each
// other.
//
//	aws ecs execute-command ──ExecuteCommand──▶ service ──Open──▶ Broker
//	    └─▶ session-manager-plugin ──websocket, token──▶ Broker ──unix socket──▶ agent in the container
//
// The plugin and the agent speak Session Manager's data channel: binary messages with a
// header (Message), numbered and acknowledged in each direction (Stream), which begin with
// a handshake. The Broker lets in who has the token and passes messages on. The agent (package
// shell) listens in the folder of its logs, which is the host's, so that no container needs
// a network for it.
package session
