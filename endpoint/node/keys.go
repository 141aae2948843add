package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"openr/config"
	"openr/zmtp"
)

// keySuffix makes the name of the key file from that of the store.
const keySuffix = ".endpoint-key"

func keyFile(c *config.Config) string {
	if c.Endpoint.KeyFile != "" {
		return c.Endpoint.KeyFile
	}
	return c.StorePath + keySuffix
}

// loadKeys reads this node's secret key (Z85, one line), or makes one if there is no file. A file that others can read or
// have put there is refused: whoever knows the key can speak in this node's name.
func loadKeys(path string) (zmtp.KeyPair, error) {
	keys, err := readKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	if keys, err = zmtp.GenerateKeys(nil); err != nil {
		return zmtp.KeyPair{}, err
	}
	if err := writeKeys(path, keys); err != nil {
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: failed to keep the new key: %w", err)
	}
	return keys, nil
}

func readKeys(path string) (zmtp.KeyPair, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: %s is no file; name another", path)
	case st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid():
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: %s (mode %04o, owner %d) is open to others; if they cannot have read it, chmod 600 and chown it, else remove it and a new key is made",
			path, st.Mode&0o7777, st.Uid)
	}
	const longest = 256
	b, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: %w", err)
	}
	secret, err := zmtp.ParseKey(strings.TrimSpace(string(b)))
	if err == nil && secret.IsZero() {
		err = errors.New("the key is zero")
	}
	if err != nil { // which must not show what is in the file
		return zmtp.KeyPair{}, fmt.Errorf("endpoint.key_file: %s does not hold a secret CURVE key (Z85, 40 characters); remove it and a new one is made", path)
	}
	return zmtp.PairOf(secret), nil
}

// writeKeys writes the file as a whole or not at all.
func writeKeys(path string, keys zmtp.KeyPair) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(keys.Secret.String() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
