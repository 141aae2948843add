package openr_test

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"strings"
	"testing"
)

// apart is what never runs in an agent: programs of their own, and what tests are made of.
var apart = []string{"bench", "cmd/breeze", "internal/allocs", "lab", "sim", "tests", "thrift/testca", "tools"}

// guarded reports whether a call starts a goroutine, or a function later on one of its own, and if so whether a panic in there
// is caught: the function is written out and begins with `defer crash.Guard()`, or does no more than close or cancel something.
func guarded(call *ast.CallExpr, isGo bool) (starts, caught bool) {
	f := call.Fun
	if !isGo {
		s, ok := f.(*ast.SelectorExpr)
		if !ok || s.Sel.Name != "Go" && s.Sel.Name != "AfterFunc" || len(call.Args) == 0 {
			return false, false
		}
		f = call.Args[len(call.Args)-1]
	}
	body, ok := f.(*ast.FuncLit)
	if !ok {
		name, ok := f.(*ast.Ident)
		return true, ok && name.Name == "cancel"
	}
	if len(body.Body.List) == 0 {
		return true, true
	}
	switch first := body.Body.List[0].(type) {
	case *ast.DeferStmt:
		s, ok := first.Call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true, false
		}
		pkg, ok := s.X.(*ast.Ident)
		return true, ok && pkg.Name == "crash" && s.Sel.Name == "Guard"
	case *ast.ExprStmt:
		c, ok := first.X.(*ast.CallExpr)
		if !ok || len(body.Body.List) > 1 {
			return true, false
		}
		s, ok := c.Fun.(*ast.SelectorExpr)
		return true, ok && s.Sel.Name == "Close"
	}
	return true, false
}

// TestGoroutinesAreGuarded: wherever an agent panics, it can tell its neighbours that it restarts.
func TestGoroutinesAreGuarded(t *testing.T) {
	found := 0
	for folder, files := range goFiles(t) {
		if folder == "." || room(folder, apart) != "" {
			continue
		}
		for name, file := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				var call *ast.CallExpr
				isGo := false
				switch n := n.(type) {
				case *ast.GoStmt:
					call, isGo = n.Call, true
				case *ast.CallExpr:
					call = n
				default:
					return true
				}
				starts, caught := guarded(call, isGo)
				if starts {
					found++
				}
				if starts && !caught {
					source, err := os.ReadFile(path.Join(folder, name))
					if err != nil {
						t.Fatal(err)
					}
					line := 1 + bytes.Count(source[:call.Pos()-file.FileStart], []byte("\n"))
					t.Errorf("%s:%d: what runs on a goroutine of its own begins without `defer crash.Guard()`", path.Join(folder, name), line)
				}
				return true
			})
		}
	}
	if found < 40 {
		t.Errorf("only %d goroutines were found", found)
	}
}
