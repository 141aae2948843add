package lab

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// ZebraProtocol is the rtm_protocol under which FRR's zebra puts routes of type openfabric into the kernel, the type that the
// agent uses unless told otherwise (RTPROT_OPENFABRIC of FRR's zebra/rt_netlink.h).
const ZebraProtocol = 197

// FRRFolder makes a temporary folder in which FRR's daemons can make files after they have given up root for FRR's user.
// Who asks for it removes it.
func FRRFolder() (path string, err error) {
	u, err := user.Lookup("frr")
	if err != nil {
		return "", fmt.Errorf("FRR is missing (Debian package frr): %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return "", fmt.Errorf("user frr has the id %q: %w", u.Uid, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return "", fmt.Errorf("group of user frr has the id %q: %w", u.Gid, err)
	}
	if path, err = os.MkdirTemp("", "openr-frr-"); err != nil {
		return "", err
	}
	if err = os.Chown(path, uid, gid); err == nil {
		err = os.Chmod(path, 0o755)
	}
	if err != nil {
		_ = os.RemoveAll(path)
		return "", err
	}
	return path, nil
}
