package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program, told from later ones with the same number by its start time.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of proc_pid_stat(5)
}

// findProcess returns the process that has the number now.
func findProcess(pid int) process {
	start, _, _ := processStat(pid)
	return process{PID: pid, Start: start}
}

// processStat returns a process's start time and whether it has ended: it is a zombie, and so are all its threads. While one of them
// still runs, or is being ended, its sockets and files are open, although its first thread may be a zombie already.
func processStat(pid int) (start uint64, ended bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	_, rest, _ := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
	fields := strings.Fields(string(rest)) // from field 3 on
	if len(fields) < 20 {
		return 0, false, fmt.Errorf("/proc/%d/stat has an unknown format", pid)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	zombie := fields[0] == "Z" || fields[0] == "X"
	return start, zombie && (fields[17] == "1" || fields[17] == "0"), err // field 20 is the number of threads
}

// alive reports whether the process still runs.
func (p process) alive() bool {
	if p.PID == 0 {
		return false
	}
	start, ended, err := processStat(p.PID)
	return err == nil && !ended && start == p.Start
}

// signal sends sig; a process that is gone is no error.
func (p process) signal(sig syscall.Signal) error {
	if p.PID == 0 {
		return nil
	}
	handle, err := os.FindProcess(p.PID) // a pidfd: after the check below it cannot come to mean another process
	if err != nil {
		return err
	}
	defer func() { _ = handle.Release() }()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("failed to send %v to process %d: %w", sig, p.PID, err)
	}
	return nil
}

// gone waits until the process has ended, or reports false at the end of ctx.
func (p process) gone(ctx context.Context) bool {
	for p.alive() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
	return true
}

// processesIn returns all processes in a named namespace, except this one.
func processesIn(namespace string) []process {
	var want, have unix.Stat_t
	if unix.Stat(filepath.Join(netnsFolder, namespace), &want) != nil {
		return nil
	}
	entries, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var found []process
	for _, path := range entries {
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		if pid != os.Getpid() && unix.Stat(path, &have) == nil && have.Dev == want.Dev && have.Ino == want.Ino {
			found = append(found, findProcess(pid))
		}
	}
	return found
}

// Run runs a program in node i to its end and returns what it printed, standard output and error together.
func (l *Lab) Run(ctx context.Context, i int, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := inNamespace(l.Namespace(i), cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s in %s: %w", strings.Join(argv, " "), l.nodes[i].Name, err)
	}
	return out.Bytes(), err
}

// Start starts the agent of node i, which must not run. Its output is appended to LogPath(i). It returns at once.
func (l *Lab) Start(i int) error {
	n := l.nodes[i]
	if n.process().alive() {
		return fmt.Errorf("the agent of %s runs already, as process %d", n.Name, n.process().PID)
	}
	log, err := os.OpenFile(l.LogPath(i), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(l.binary, "--config", l.ConfigPath(i))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this program, and Ctrl-C at a terminal is not for it
	cmd.Stdout, cmd.Stderr = log, log
	if err := inNamespace(n.Namespace, cmd.Start); err != nil {
		return fmt.Errorf("failed to start the agent of %s: %w", n.Name, err)
	}
	n.set(findProcess(cmd.Process.Pid))
	go func() {
		state := "exit status 0"
		if err := cmd.Wait(); err != nil {
			state = err.Error()
		}
		n.exited(cmd.Process.Pid, state)
	}()
	return l.save()
}

// Stop sends sig to the agent of node i and waits for its end, with which its ports are free; after 10 seconds it kills it and returns
// an error. From then on the node counts as meant to be down.
func (l *Lab) Stop(i int, sig syscall.Signal) error {
	n := l.nodes[i]
	p := n.process()
	if err := p.signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if p.gone(ctx) {
		n.set(process{})
		return l.save()
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return fmt.Errorf("the agent of %s (process %d) did not end within 10 s of %v; killed", n.Name, p.PID, sig)
}

// Running reports whether the agent of node i runs.
func (l *Lab) Running(i int) bool { return l.nodes[i].process().alive() }

// PID returns the number of the process of node i's agent, 0 when it was stopped.
func (l *Lab) PID(i int) int { return l.nodes[i].process().PID }

// endProcesses ends everything that runs in the namespaces: agents, and shells that were started there.
func endProcesses(namespaces []string) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		var all []process
		for _, ns := range namespaces {
			all = append(all, processesIn(ns)...)
		}
		for _, p := range all {
			if err := p.signal(sig); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		for _, p := range all {
			p.gone(ctx)
		}
		cancel()
	}
	return nil
}
