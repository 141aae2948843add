package zmtp

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// libzmq is a socket of the real thing, in a process of Debian's python3-zmq.
type libzmq struct {
	t     testing.TB
	pid   int
	in    io.WriteCloser
	lines *bufio.Scanner
}

type fields map[string]any

// newLibzmq starts a process with a socket of this kind.
func newLibzmq(t testing.TB, kind string, options fields) *libzmq {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/peer.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr tail
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; python3 and python3-zmq are needed (apt-get install python3-zmq)", err)
	}
	p := &libzmq{t: t, pid: cmd.Process.Pid, in: in, lines: bufio.NewScanner(out)}
	p.lines.Buffer(nil, 64<<20)
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && len(stderr) > 0 {
			t.Logf("libzmq's process said: %s", stderr)
		}
	})
	p.do(fields{"do": "make", "kind": kind, "options": options})
	return p
}

// tail keeps what a process wrote to its standard error.
type tail []byte

func (t *tail) Write(b []byte) (int, error) { *t = append(*t, b...); return len(b), nil }

// ask hands over a request without waiting for the answer.
func (p *libzmq) ask(request fields) {
	p.t.Helper()
	b, err := json.Marshal(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.t.Fatalf("libzmq's process is gone: %v; is python3-zmq installed?", err)
	}
}

// answer waits for the answer to a request.
func (p *libzmq) answer() fields {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatal("libzmq's process ended; is python3-zmq installed?")
	}
	var a fields
	if err := json.Unmarshal(p.lines.Bytes(), &a); err != nil {
		p.t.Fatal(err)
	}
	if a["error"] != nil {
		p.t.Fatalf("libzmq: %v", a["error"])
	}
	return a
}

func (p *libzmq) do(request fields) fields {
	p.t.Helper()
	p.ask(request)
	return p.answer()
}

// signal sends a signal to the process: SIGSTOP makes it a peer that is there and does nothing.
func (p *libzmq) signal(s syscall.Signal) {
	p.t.Helper()
	check(p.t, syscall.Kill(p.pid, s))
}

func (p *libzmq) bind() (address string) {
	p.t.Helper()
	return "127.0.0.1:" + trimNumber(p.do(fields{"do": "bind"})["port"])
}

func (p *libzmq) connect(address string) { p.t.Helper(); p.do(fields{"do": "connect", "to": address}) }

func (p *libzmq) send(m Message) { p.t.Helper(); p.do(fields{"do": "send", "message": hexed(m)}) }

// recv returns the next message, nil if none came within timeout.
func (p *libzmq) recv(timeout time.Duration) Message {
	p.t.Helper()
	parts, _ := p.do(fields{"do": "recv", "timeout": timeout.Milliseconds()})["message"].([]any)
	var m Message
	for _, part := range parts {
		b, err := hex.DecodeString(part.(string))
		if err != nil {
			p.t.Fatal(err)
		}
		m = append(m, b)
	}
	return m
}

func (p *libzmq) curveServer(k KeyPair) {
	p.t.Helper()
	p.do(fields{"do": "curve_server", "secret": k.Secret.String(), "public": k.Public.String()})
}

func (p *libzmq) curveClient(k KeyPair, server Key) {
	p.t.Helper()
	p.do(fields{"do": "curve_client", "secret": k.Secret.String(), "public": k.Public.String(), "server": server.String()})
}

func hexed(m Message) []string {
	parts := make([]string, len(m))
	for i, p := range m {
		parts[i] = hex.EncodeToString(p)
	}
	return parts
}

func trimNumber(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
