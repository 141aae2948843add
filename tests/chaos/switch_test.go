package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"openr/lab"
)

// switchAgent is `openr lab agent` in a node: a FibService, and an interface fboss<vlan> in place of each port.
type switchAgent struct {
	w     *world
	dir   string
	vlans map[string]int // by port
	ctl   *http.Client
	cmd   *exec.Cmd
}

// newSwitchAgent starts the switch agent on all links of its node.
func newSwitchAgent(w *world, folder string) *switchAgent {
	w.t.Helper()
	s := &switchAgent{w: w, dir: folder, vlans: map[string]int{}}
	socket := filepath.Join(s.dir, "control")
	args := []string{"lab", "agent", "--control", socket}
	for _, l := range w.links {
		for _, e := range l.ends {
			if e.node == switchNode {
				s.vlans[e.port] = 2001 + len(s.vlans)
				args = append(args, "--vlan", fmt.Sprintf("%d=%s", s.vlans[e.port], e.port))
			}
		}
	}
	log, err := os.Create(s.logPath())
	w.must(err)
	defer log.Close()
	s.cmd = exec.Command(agentBinary, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	w.must(w.Do(switchNode, s.cmd.Start))
	s.ctl = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
	w.eventually("the switch agent listens", func() bool {
		r, err := s.ctl.Get("http://agent/")
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	return s
}

func (s *switchAgent) logPath() string {
	if s == nil {
		return "switch-agent.log"
	}
	return filepath.Join(s.dir, "switch-agent.log")
}

// tell tells the switch agent what to do next.
func (s *switchAgent) tell(path string, values url.Values) {
	s.w.t.Helper()
	r, err := s.ctl.PostForm("http://agent/"+path, values)
	s.w.must(err)
	text, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		s.w.t.Fatalf("%s: %s: %s", path, r.Status, text)
	}
}

func (s *switchAgent) end() {
	if s != nil && s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait()
	}
}

// amend puts the node's VLAN interfaces in the place of its ports.
func (s *switchAgent) amend(f *lab.Facts) error {
	for k := range f.Links {
		for _, e := range []*lab.LinkEnd{&f.Links[k].A, &f.Links[k].B} {
			vlan, ok := s.vlans[e.IfName]
			if e.Node != switchNode || !ok {
				continue
			}
			e.IfName, e.V6 = fmt.Sprintf("fboss%d", vlan), netip.Addr{}
			h := s.w.Netlink(switchNode)
			x, err := h.LinkByName(e.IfName)
			var missing netlink.LinkNotFoundError
			if errors.As(err, &missing) {
				f.Links[k].Up = false
				continue
			}
			if err != nil {
				return err
			}
			addresses, err := h.AddrList(x, syscall.AF_INET6)
			if err != nil {
				return err
			}
			for _, a := range addresses {
				if x, _ := netip.AddrFromSlice(a.IP); x.IsLinkLocalUnicast() {
					e.V6 = x
				}
			}
		}
	}
	return nil
}

// agentPort returns the name of a link's end as the node's agent knows it.
func (w *world) agentPort(e end) string {
	if e.node == switchNode {
		return fmt.Sprintf("fboss%d", w.fabric.vlans[e.port])
	}
	return e.port
}
