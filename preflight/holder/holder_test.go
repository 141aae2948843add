package holder

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := fmt.Sprintf("process %d (%s", os.Getpid(), filepath.Dir(os.Args[0]))
	got := Of("tcp", l.Addr().(*net.TCPAddr).Port)
	if len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Of("tcp", -1); got != nil {
		t.Errorf("port -1 is held by %q", got)
	}
}

func TestInodes(t *testing.T) {
	const table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:07E2 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000000000000:07E2 00000000000000000000000000000001:ABCD 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0000000000000000 100 0 0 10 0
   2: 00000000000000000000000000000000:1A0A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1
   3: 00000000000000000000000000000000:07E2 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 0 1
   4: garbage
   5: 0:07E2
`
	for _, tt := range []struct {
		network string
		port    int
		want    []string
	}{
		{"tcp", 2018, []string{"111"}}, {"udp", 2018, []string{"111", "222"}}, {"tcp", 6666, []string{"333"}}, {"tcp", 1, nil},
	} {
		if got := inodesOf(table, tt.network, tt.port); !slices.Equal(got, tt.want) {
			t.Errorf("%s port %d: %v, want %v", tt.network, tt.port, got, tt.want)
		}
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	if got := command(dir); got != "gone by now" {
		t.Errorf("no files: %q", got)
	}
	for _, tt := range []struct{ file, content, want string }{
		{"comm", "kthread\n", "kthread"},
		{"cmdline", "openr\x00--config\x00x\x00", "openr --config x"},
		{"cmdline", strings.Repeat("x", 100), strings.Repeat("x", 80) + "..."},
	} {
		if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := command(dir); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.file, tt.content, got, tt.want)
		}
	}
}
