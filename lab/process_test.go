package lab

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leaderless has this program listen, tell where, and end its first thread.
const leaderless = "LAB_TEST_LEADERLESS"

func init() {
	if os.Getenv(leaderless) == "" {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go time.Sleep(time.Hour)
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // init runs on the first thread
}

// TestEndedMeansClosed: a process whose first thread is a zombie is alive as long as another one is, for its ports are taken; when it has
// ended they are free.
func TestEndedMeansClosed(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), leaderless+"=1", "GOMAXPROCS=4")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // killed
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(line)
	p := findProcess(cmd.Process.Pid)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for state := ""; state != "Z"; {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%q, %v, %v: its first thread does not end", text, err, ctx.Err())
		}
		state = strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
	}
	if !p.alive() {
		t.Error("a process counts as ended while a thread of it runs")
	}
	if l, err := net.Listen("tcp", address); err == nil {
		l.Close()
		t.Fatalf("%s is free: the test shows nothing", address)
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.gone(ctx) {
		t.Fatal("it does not end")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("after its end: %v", err)
	}
	l.Close()
}
