package ctrl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"openr/config"
	"openr/configstore"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

func TestConfigKeys(t *testing.T) {
	c, m := newTest()
	ctx := t.Context()
	_, err := c.GetConfigKey(ctx, "a")
	refused(t, err, `key "a" doesn't exist`)
	for key, value := range map[string][]byte{
		"a": []byte("b"), "empty": nil, "link-monitor-config": compact.Marshal(&types.LinkMonitorState{IsOverloaded: true}),
	} {
		if err := c.SetConfigKey(ctx, key, value); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		got, err := c.GetConfigKey(ctx, key)
		if err != nil || got == nil || string(got) != string(value) {
			t.Errorf("%s: %q, %v; want %q", key, got, err, value)
		}
	}
	refused(t, c.SetConfigKey(ctx, "", nil), "key has 0 bytes")
	refused(t, c.SetConfigKey(ctx, strings.Repeat("k", maxConfigKey+1), nil), "key has 1025 bytes")
	refused(t, c.SetConfigKey(ctx, "k", make([]byte, maxConfigValue+1)), "value has")
	refused(t, c.SetConfigKey(ctx, "link-monitor-config", []byte("no struct")), "LinkMonitorState")
	if err := c.EraseConfigKey(ctx, "a"); err != nil {
		t.Error(err)
	}
	if err := c.EraseConfigKey(ctx, "a"); err != nil {
		t.Errorf("erasing what is gone: %v", err)
	}
	m.config.Err = errors.New("no space left on device")
	refused(t, c.SetConfigKey(ctx, "a", nil), "no space")
	refused(t, c.EraseConfigKey(ctx, "a"), "no space")

	c.ConfigStore = nil
	refused(t, c.SetConfigKey(ctx, "a", nil), "keeps no configuration keys")
	refused(t, c.EraseConfigKey(ctx, "a"), "keeps no configuration keys")
	_, err = c.GetConfigKey(ctx, "a")
	refused(t, err, "keeps no configuration keys")
}

func TestConfigKeysInAFile(t *testing.T) {
	store, err := configstore.New(configstore.Options{Path: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c, _ := newTest()
	c.ConfigStore = store
	if err := c.SetConfigKey(t.Context(), "a", []byte("b")); err != nil {
		t.Fatal(err)
	}
	if v, err := c.GetConfigKey(t.Context(), "a"); string(v) != "b" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if err := c.EraseConfigKey(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetConfigKey(t.Context(), "a")
	refused(t, err, "doesn't exist")
}

func TestDryrunConfig(t *testing.T) {
	c, _ := newTest()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text, err := c.DryrunConfig(t.Context(), file("good", `{"node_name": "n9", "areas": [{"area_id": "7"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if parsed, _, err := config.Parse("", []byte(text)); err != nil || parsed.NodeName != "n9" || parsed.AreaIDs()[0] != "7" || !strings.Contains(text, "hello_time_s") {
		t.Errorf("%s, %v", text, err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                              "no such file",
		filepath.Join(dir, "none"):      "no such file",
		dir:                             "not a regular file",
		pipe:                            "not a regular file",
		"/dev/zero":                     "not a regular file",
		"with\x00zero":                  "invalid argument",
		file("bad", `{"ip_tos": 1000}`): "ip_tos",
		file("no json", "node"):         "JSON",
		file("large", strings.Repeat(" ", maxConfigFile+1)): "larger than",
	} {
		_, err := c.DryrunConfig(t.Context(), path)
		refused(t, err, want)
	}
}
