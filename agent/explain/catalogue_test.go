package explain

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func catalogue(t *testing.T) map[string]ErrorName {
	t.Helper()
	names := map[string]ErrorName{}
	for _, e := range Catalogue() {
		if _, twice := names[e.Name]; twice || e.When == "" || e.Message == "" || e.Where == "" {
			t.Errorf("entry %+v is incomplete or there twice", e)
		}
		names[e.Name] = e
	}
	return names
}

// The catalogue has the names of docs/spec/02 section 6.2, and the messages where the
// specification gives them word by word.
func TestCatalogueIsTheSpecifications(t *testing.T) {
	have, specified := catalogue(t), map[string]bool{}
	for _, row := range table(t, "### 6.2 Names") {
		for _, m := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			specified[m[1]] = true
			e, ok := have[m[1]]
			if !ok {
				t.Errorf("%s is missing", m[1])
				continue
			}
			for _, text := range codeSpan.FindAllStringSubmatch(row[2], -1) {
				if !strings.Contains(e.Message, "`"+text[1]+"`") {
					t.Errorf("%s: message %q lacks %q", m[1], e.Message, text[1])
				}
			}
		}
	}
	for name, e := range have {
		if e.Own == specified[name] {
			t.Errorf("%s: in the specification %v, own %v", name, specified[name], e.Own)
		}
	}
}

var errorName = regexp.MustCompile(`^([A-Z][A-Za-z]*Error)(: .*)?$`)

// No source of the agent makes up a name that is not in the catalogue.
func TestNoOtherNames(t *testing.T) {
	have := catalogue(t)
	found := 0
	check := func(where, name string) {
		found++
		switch e, ok := have[name]; {
		case !ok:
			t.Errorf("%s: %s is not in the catalogue: ECS shows the names of docs/spec/02 section 6.2 only", where, name)
		case e.NotMade != "":
			t.Errorf("%s: %s is made, and the catalogue says that it is not: name the test that shows it", where, name)
		}
	}
	root := filepath.Join("..", "..", "agent")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasSuffix(d.Name(), "test") || d.Name() == "testdata" || d.Name() == "explain"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // somebody else's build will say so
		}
		for name, at := range namesIn(f) {
			check(files.Position(at).String(), name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 20 {
		t.Errorf("only %d names found: the search is broken", found)
	}
}

// namesIn finds string literals that look like names of errors, and whatever is given
// as the Name of an Error.
func namesIn(f *ast.File) map[string]token.Pos {
	names := map[string]token.Pos{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if m := errorName.FindStringSubmatch(literal(n)); m != nil {
				names[m[1]] = n.Pos()
			}
		case *ast.CompositeLit:
			if !isError(n.Type) {
				return true
			}
			for _, element := range n.Elts {
				if kv, ok := element.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Name" && literal(kv.Value) != "" {
						names[literal(kv.Value)] = kv.Value.Pos()
					}
				}
			}
		}
		return true
	})
	return names
}

func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return text
}

func isError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Error"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Error"
	}
	return false
}

// The search finds what it is meant to find.
func TestSearchForNames(t *testing.T) {
	const source = `package p
const name = "SomeError"
var a = &task.Error{Name: "Odd", Message: "x"}
var b = Error{Name: "AlsoOdd"}
var c = "TaskError: " + text
var d = other{Name: "fine"}
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	got := namesIn(f)
	for _, want := range []string{"SomeError", "Odd", "AlsoOdd", "TaskError"} {
		if _, ok := got[want]; !ok {
			t.Errorf("%s is not found", want)
		}
	}
	if len(got) != 4 {
		t.Errorf("found %v", got)
	}
}

// Every name is shown by a test that exists and that has the name in its words, or the
// catalogue says why it is never made.
func TestEveryNameIsShown(t *testing.T) {
	sources := map[string]*testSource{}
	for _, e := range Catalogue() {
		if (e.Shown == "") == (e.NotMade == "") {
			t.Errorf("%s: want either a test or why there is none: %q, %q", e.Name, e.Shown, e.NotMade)
		}
		if e.Shown == "" {
			continue
		}
		folder, test, _ := strings.Cut(e.Shown, " ")
		test, part, _ := strings.Cut(test, "/")
		s := sources[folder]
		if s == nil {
			s = readTests(t, filepath.Join("..", "..", filepath.FromSlash(folder)))
			sources[folder] = s
		}
		if !s.functions[test] {
			t.Errorf("%s: %s has no %s", e.Name, folder, test)
		}
		if part != "" && !s.has(func(text string) bool { return text == part }) {
			t.Errorf("%s: %s has no case %q", e.Name, test, part)
		}
		if !s.has(func(text string) bool { return strings.Contains(text, e.Name) }) {
			t.Errorf("%s: no test of %s expects it", e.Name, folder)
		}
	}
}

// testSource is what the tests of a folder say.
type testSource struct {
	functions map[string]bool
	literals  []string
}

func (s *testSource) has(ok func(string) bool) bool { return slices.ContainsFunc(s.literals, ok) }

func readTests(t *testing.T, folder string) *testSource {
	t.Helper()
	s := &testSource{functions: map[string]bool{}}
	names, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no tests in %s: %v", folder, err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				s.functions[n.Name.Name] = true
			case *ast.BasicLit:
				if text := literal(n); text != "" {
					s.literals = append(s.literals, text)
				}
			}
			return true
		})
	}
	return s
}

func TestReferencePage(t *testing.T) {
	var page bytes.Buffer
	if err := Reference(&page); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("..", "..", "docs", "errors.md"), page.Bytes())
}
