// Package rules holds the rules of the tree as tests: which package may import which, who alone may import a
// library, that every package explains itself, that names mean something and files are formatted.
//
// The tests read the files, they build nothing, so they see every platform's files at once.
package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// File is one Go file of the tree.
type File struct {
	Path    string // relative to the root, with slashes
	Dir     string // of Path; "." at the root
	Test    bool   // its name ends in _test.go
	Source  []byte
	Syntax  *ast.File
	Imports []string
}

// Root returns the directory of go.mod at or above dir.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", os.ErrNotExist
		}
		dir = up
	}
}

// Tree parses every Go file below root. Dot directories, testdata, bin and run are left out.
func Tree(root string) ([]File, error) {
	var files []File
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") || rel == "bin" || rel == "run" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := read(fset, p, rel)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func read(fset *token.FileSet, p, rel string) (File, error) {
	src, err := os.ReadFile(p)
	if err != nil {
		return File{}, err
	}
	f := File{Path: rel, Dir: path.Dir(rel), Test: strings.HasSuffix(rel, "_test.go"), Source: src}
	f.Syntax, err = parser.ParseFile(fset, rel, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return File{}, err
	}
	for _, spec := range f.Syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return File{}, err
		}
		f.Imports = append(f.Imports, name)
	}
	return f, nil
}

// Within reports whether name is dir or lies below it.
func Within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
