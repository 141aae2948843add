package configstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/renameio/v2"
)

// maxBadFiles is how many bad files are kept aside; a further one replaces the last of them.
const maxBadFiles = 9

// readFile returns what can be read of the file at path, and what kept it from being read whole. A missing file is empty
// and no error; existed tells it from one of no bytes.
func readFile(path string) (b []byte, existed bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in its place must not hold up the start
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, true, err
	} else if !info.Mode().IsRegular() {
		return nil, true, fmt.Errorf("%s is not a regular file", path)
	}
	b, err = io.ReadAll(io.LimitReader(f, maxReadSize+1))
	if len(b) > maxReadSize {
		b, err = b[:maxReadSize], errTooLarge
	}
	return b, true, err
}

// keepAside gives the file at path a second name, <path>.bad-<n>, which it returns, so that the next write does not destroy
// it. The file stays in place meanwhile.
func keepAside(path string) (aside string, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if err := replaceable(path); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		aside = path + ".bad-" + strconv.Itoa(n)
		there, err := os.Lstat(aside)
		if err == nil && os.SameFile(info, there) {
			return aside, nil // from a start that could not write a good file in its place
		}
		if err == nil && n == maxBadFiles {
			if err = os.Remove(aside); err != nil {
				return "", err
			}
		} else if err == nil {
			continue
		}
		if err := os.Link(path, aside); err == nil {
			return aside, nil
		}
		// A file system without hard links.
		if err := os.Rename(path, aside); err != nil {
			return "", err
		}
		return aside, nil
	}
}

// replaceable refuses to put a file in the place of a folder or a device.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() && info.Mode().Type() != os.ModeSymlink {
		return fmt.Errorf("%s is not a regular file; set persistent_config_store_path to one", path)
	}
	return nil // what else is wrong, the write will tell
}

// writeFile replaces the file at path by one that holds b and that only its owner may read, and returns when that will
// outlast a loss of power. A symbolic link at path is replaced, not followed.
func writeFile(path string, b []byte) error {
	if err := replaceable(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup() //nolint:errcheck // the write's own error says more
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return syncFolder(dir)
}

// syncFolder makes a rename in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
