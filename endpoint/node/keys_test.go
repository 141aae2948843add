package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeys: the key is made once, for this node's eyes only, and a file that is not is refused with what to do.
func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := loadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	again, err := loadKeys(path)
	if err != nil || again != first || first.Secret.IsZero() {
		t.Errorf("another key after a restart, %v", err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}

	link := path + "-link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		prepare func()
		path    string
		want    string
	}{
		"open to others":     {func() { os.Chmod(path, 0o640) }, path, "chmod 600"},
		"a link":             {func() {}, link, "endpoint.key_file"},
		"a folder":           {func() {}, filepath.Dir(path), "is no file"},
		"no folder":          {func() {}, filepath.Join(path+"-none", "key"), "failed to keep the new key"},
		"another's contents": {func() { os.WriteFile(path, []byte("secret"), 0o600); os.Chmod(path, 0o600) }, path, "remove it"},
		"the zero key":       {func() { os.WriteFile(path, []byte(strings.Repeat("0", 40)), 0o600) }, path, "remove it"},
	} {
		t.Run(name, func(t *testing.T) {
			c.prepare()
			_, err := loadKeys(c.path)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret\"") {
				t.Errorf("%v, want a word of %q", err, c.want)
			}
			os.WriteFile(path, []byte(first.Secret.String()+"\n"), 0o600)
			os.Chmod(path, 0o600)
		})
	}
}
