package openr_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goFiles returns the parsed hand-written Go files of the repository by folder ("." is the root), with comments.
func goFiles(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	folders := map[string]map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			name := entry.Name()
			if path != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") || path == filepath.Join("thrift", "gen") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if folders[folder] == nil {
			folders[folder] = map[string]*ast.File{}
		}
		folders[folder][filepath.Base(path)] = file
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

// TestEveryPackageSaysWhatItIs holds every package to a package comment. Of a package that others import it has to say
// what it owns, reads and writes.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for folder, files := range goFiles(t) {
		comment, onlyTests, isMain := "", true, false
		for name, file := range files {
			comment += file.Doc.Text()
			isMain = isMain || file.Name.Name == "main"
			onlyTests = onlyTests && strings.HasSuffix(name, "_test.go")
		}
		if onlyTests && folder == "." {
			continue // the tests of the repository as a whole: no package
		}
		if strings.TrimSpace(comment) == "" {
			t.Errorf("package %s has no package comment; say in %s/doc.go what it is", folder, folder)
			continue
		}
		if isMain {
			continue
		}
		for _, word := range []string{"Owns:", "Reads", "Writes"} {
			if !strings.Contains(comment, word) && !(word == "Writes" && strings.Contains(comment, "Reads and writes")) {
				t.Errorf("the package comment of %s does not say what the package %s: %q is missing",
					folder, strings.ToLower(strings.TrimSuffix(word, ":")), word)
			}
		}
	}
}

// TestRoomsExist fails when a room of the house has gone without the architecture page being told.
func TestRoomsExist(t *testing.T) {
	folders := goFiles(t)
	rooms := slices.Concat(modules, foundation, []string{"agent", "ctrl", "lab", "systemd", "endpoint", "endpoint/coop", "cmd/openr", "cmd/breeze"})
	for _, room := range rooms {
		if len(folders[room]) == 0 {
			t.Errorf("there is no package %s; is ARCHITECTURE.md still true?", room)
		}
	}
}
