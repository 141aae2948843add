package fakeswitch

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"

	"openr/thrift/gen/platform"
)

// state is what the control socket tells.
type state struct {
	AliveSince int64          `json:"alive_since"`
	RunState   string         `json:"run_state"`
	Listening  string         `json:"listening"`
	Restarts   int            `json:"restarts"`
	Hanging    bool           `json:"hanging"`
	Refusing   bool           `json:"refusing"`
	Failing    []netip.Prefix `json:"failing"`
	Routes     map[int16]int  `json:"routes"` // by client id
	Calls      map[string]int `json:"calls"`  // by method
	VLANs      []vlanState    `json:"vlans"`
}

type vlanState struct {
	ID        int    `json:"id"`
	Port      string `json:"port"`
	Interface string `json:"interface"`
	Up        bool   `json:"up"`
}

func (a *Agent) snapshot() state {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := state{
		AliveSince: a.since, RunState: a.state.String(), Restarts: a.restarts, Hanging: a.hang != nil, Refusing: a.refuse,
		Failing: append([]netip.Prefix{}, a.fail...), Routes: map[int16]int{}, Calls: map[string]int{}, VLANs: []vlanState{},
	}
	if a.address != nil {
		s.Listening = a.address.String()
	}
	for client := range protocols {
		s.Routes[client] = len(a.table.routes(client))
	}
	for method, n := range a.calls {
		s.Calls[method] = n
	}
	for _, v := range a.vlans {
		v.mu.Lock()
		s.VLANs = append(s.VLANs, vlanState{ID: v.ID, Port: v.Port, Interface: tunName(v.ID), Up: v.up})
		v.mu.Unlock()
	}
	return s
}

// Control returns what the control socket serves; the package comment lists its requests.
func (a *Agent) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(a.snapshot())
	})
	post := func(path string, f func(r *http.Request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := f(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	post("/restart", func(r *http.Request) (err error) {
		var x Restart
		if text := r.FormValue("down"); text != "" {
			if x.Down, err = time.ParseDuration(text); err != nil {
				return fmt.Errorf("down: %w", err)
			}
		}
		if x.Warm, err = flag(r, "warm"); err != nil {
			return err
		}
		return a.Restart(r.Context(), x)
	})
	post("/fail", func(r *http.Request) error {
		if err := r.ParseForm(); err != nil {
			return err
		}
		var prefixes []netip.Prefix
		for _, text := range r.Form["prefix"] {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("prefix: %w", err)
			}
			prefixes = append(prefixes, p.Masked())
		}
		a.Fail(prefixes...)
		return nil
	})
	post("/hang", func(r *http.Request) error {
		on, err := flag(r, "on")
		if err == nil {
			a.Hang(on)
		}
		return err
	})
	post("/refuse", func(r *http.Request) error {
		on, err := flag(r, "on")
		if err == nil {
			a.Refuse(on)
		}
		return err
	})
	post("/forget", func(*http.Request) error {
		a.Forget()
		return nil
	})
	post("/run-state", func(r *http.Request) error {
		s, err := platform.SwitchRunStateFromString(r.FormValue("is"))
		if err != nil {
			return fmt.Errorf("is=%s: want UNINITIALIZED, INITIALIZED, CONFIGURED or EXITING", r.FormValue("is"))
		}
		a.SetRunState(s)
		return nil
	})
	return mux
}

// flag reads a parameter that is true or false; left out it is false.
func flag(r *http.Request, name string) (bool, error) {
	text := r.FormValue(name)
	if text == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s=%s: want true or false", name, text)
	}
	return v, nil
}

// serveControl serves the control socket until stop is called.
func (a *Agent) serveControl(path string) (stop func(), err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("control socket %s is in use by another agent", path)
		}
		_ = os.Remove(path) // left by an agent that was killed
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	server := &http.Server{Handler: a.Control(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.log.Warn("control socket", zap.Error(err))
		}
	}()
	return func() { _ = server.Close(); <-done }, nil
}
