package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"openr/configstore"
)

// disk is a file system on a device of its own, whose power can be cut.
type disk struct {
	t             *testing.T
	image, folder string
	mounted       bool
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "image"), folder: filepath.Join(t.TempDir(), "disk")}
	if err := os.Mkdir(d.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 16<<20); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", d.image)
	t.Cleanup(func() {
		if d.mounted {
			d.run("umount", d.folder)
		}
	})
	d.plug()
	return d
}

func (d *disk) run(argv ...string) {
	d.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		d.t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

// plug mounts it, so that it writes nothing by itself for minutes.
func (d *disk) plug() {
	d.t.Helper()
	d.run("mount", "-o", "loop,commit=300", d.image, d.folder)
	d.mounted = true
}

// cutPower drops all that was not written for good, and mounts what is left.
func (d *disk) cutPower() {
	d.t.Helper()
	const shutdown, withoutJournal = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH (linux/ext4.h)
	f, err := os.Open(d.folder)
	if err != nil {
		d.t.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutJournal)
	f.Close()
	if err != nil {
		d.t.Fatal(os.NewSyscallError("EXT4_IOC_SHUTDOWN", err))
	}
	d.run("umount", d.folder)
	d.mounted = false
	d.plug()
}

// TestPowerLoss cuts the power of the disk that the drain state is on, right after it was set: what Set has returned from is
// there afterwards, whole, and what was there before is not half gone.
func TestPowerLoss(t *testing.T) {
	d := newDisk(t)
	path := filepath.Join(d.folder, "store.bin")
	set := func(value string) {
		t.Helper()
		s, err := configstore.New(configstore.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Set("link-monitor-config", []byte(value)); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// To show that the disk forgets: a file that nobody has synchronized.
		other := filepath.Join(d.folder, "other")
		if err := os.WriteFile(other, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []string{"one", "another"} {
		set(value)
		d.cutPower()
		if b, err := os.ReadFile(filepath.Join(d.folder, "other")); err == nil && string(b) == value {
			t.Fatal("what was not synchronized is still there: this shows nothing")
		}
		s, err := configstore.New(configstore.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := s.Get("link-monitor-config"); !ok || string(got) != value {
			t.Errorf("after the loss of power it holds %q, %t; want %q", got, ok, value)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}
