package zmtp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The benchmarks stand beside libzmq's own figures from the same run: go test -bench . -benchtime 200000x ./zmtp

// compiled returns the C program that uses libzmq.
func compiled(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "bench")
	if out, err := exec.Command("cc", "-O2", "-o", program, "testdata/bench.c", "-l:libzmq.so.5").CombinedOutput(); err != nil {
		b.Fatalf("cc and libzmq5 are needed (apt-get install gcc libzmq5): %v\n%s", err, out)
	}
	return program
}

// cSink starts a ROUTER of libzmq, and returns its address, and what waits for the time that count messages took.
func cSink(b *testing.B, program string, count int, keys ...string) (address string, took func() time.Duration, pid int) {
	b.Helper()
	cmd := exec.Command(program, append([]string{"recv", strconv.Itoa(count)}, keys...)...)
	in := must(cmd.StdinPipe())(b)
	out := must(cmd.StdoutPipe())(b)
	check(b, cmd.Start())
	lines := bufio.NewScanner(out)
	b.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	lines.Scan()
	return strings.TrimPrefix(lines.Text(), "tcp://"), func() time.Duration {
		if !lines.Scan() {
			b.Fatal("the C program ended")
		}
		seconds := must(strconv.ParseFloat(lines.Text(), 64))(b)
		return time.Duration(seconds * float64(time.Second))
	}, cmd.Process.Pid
}

// message receives the next message, for ever.
func message(b *testing.B, r receiver) Delivery {
	for {
		d, err := r.Recv(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if d.Kind == Received {
			return d
		}
	}
}

// sink receives count messages and answers.
func sink(b *testing.B, r *Router, count int) time.Duration {
	var began time.Time
	for i := range count {
		d := message(b, r)
		if i == 0 {
			began = time.Now()
		}
		if i == count-1 {
			check(b, r.Send(d.Peer.Identity, text("done")))
		}
	}
	return time.Since(began)
}

// pour sends count messages and waits for the answer.
func pour(b *testing.B, d *Dealer, count, size int) {
	body := make([]byte, size)
	for range count {
		if err := d.SendWait(context.Background(), Message{body}); err != nil {
			b.Fatal(err)
		}
	}
	expect(b, d, Received)
}

func BenchmarkThroughput(b *testing.B) {
	program := compiled(b)
	server, client := keys(b), keys(b)
	for _, curve := range []bool{false, true} {
		mechanism, serverArgs, clientArgs, s := "NULL", []string(nil), []string(nil), secured{}
		if curve {
			mechanism, s = "CURVE", secured{curve: true, server: server, client: client}
			serverArgs = []string{server.Public.String(), server.Secret.String()}
			clientArgs = []string{server.Public.String(), client.Public.String(), client.Secret.String()}
		}
		for _, size := range []int{100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%dB", mechanism, size), func(b *testing.B) {
				count := max(b.N, 2)
				rates := map[string]float64{}
				run := func(name string, cSender, cReceiver bool) {
					var address string
					var took func() time.Duration
					var r *Router
					if cReceiver {
						address, took, _ = cSink(b, program, count, serverArgs...)
					} else {
						r = newRouter(b, s.listening(Options{}))
						address = must(r.Listen(context.Background(), "127.0.0.1:0"))(b).String()
						took = func() time.Duration { return sink(b, r, count) }
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						if cSender {
							args := append([]string{"send", "tcp://" + address, strconv.Itoa(count), strconv.Itoa(size)}, clientArgs...)
							if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
								b.Errorf("%v: %s", err, out)
							}
							return
						}
						d := newDealer(b, s.dialling(Options{}))
						check(b, d.Dial(s.endpoint(address)))
						pour(b, d, count, size)
						d.Close()
					}()
					rates[name] = float64(count-1) / took().Seconds()
					<-done
					if r != nil {
						r.Close()
					}
				}
				b.ResetTimer()
				run("ours", false, false)
				b.StopTimer()
				run("libzmq", true, true)
				run("to", false, true)
				run("from", true, false)
				b.ReportMetric(rates["ours"], "msg/s")
				b.ReportMetric(rates["libzmq"], "libzmq-msg/s")
				b.ReportMetric(rates["to"], "to-libzmq-msg/s")
				b.ReportMetric(rates["from"], "from-libzmq-msg/s")
				b.ReportMetric(rates["ours"]/rates["libzmq"], "ratio")
			})
		}
	}
}

// BenchmarkFanOut: one PUB, 20 SUBs that each want a tenth of the topics.
func BenchmarkFanOut(b *testing.B) {
	p := newPublisher(b, Options{Limits: Limits{SendMessages: 1 << 20, SendBytes: 1 << 30}})
	address := must(p.Listen(context.Background(), "127.0.0.1:0"))(b).String()
	const peers, topics = 20, 10
	var subs []*Subscriber
	for i := range peers {
		s := newSubscriber(b, Options{})
		s.Subscribe(fmt.Sprintf("ep/%d/", i%topics))
		check(b, s.Dial(Endpoint{Address: address}))
		subs = append(subs, s)
	}
	waitFor(b, "the subscriptions", func() bool {
		n := 0
		for _, c := range p.connections() {
			n += len(c.subscribed.all())
		}
		return n == peers
	})
	body := make([]byte, 100)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := p.Send(Message{fmt.Appendf(nil, "ep/%d/", i%topics), body}); err != nil {
			b.Fatal(err)
		}
	}
	for i, s := range subs {
		for range (b.N + topics - 1 - i%topics) / topics {
			message(b, s)
		}
	}
	b.ReportMetric(float64(b.N*peers/topics)/b.Elapsed().Seconds(), "deliveries/s")
}

// BenchmarkHandshake: connections per second, client and server in one process.
func BenchmarkHandshake(b *testing.B) {
	server, client := keys(b), keys(b)
	for _, curve := range []bool{false, true} {
		b.Run(map[bool]string{false: "NULL", true: "CURVE"}[curve], func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				p := &pair{a: dialler(KeyPair{}, Key{}), b: listener(KeyPair{}, NullOnly)}
				if curve {
					p = &pair{a: dialler(client, server.Public), b: listener(server, Strict)}
				}
				if p.run(); !p.complete() {
					b.Fatal(p.errA, p.errB)
				}
			}
		})
	}
}

// handshakeOnly connects and shakes hands with NULL, and leaves the connection alone.
func handshakeOnly(b *testing.B, address string) net.Conn {
	b.Helper()
	c := must(net.Dial("tcp", address))(b)
	h := &handshaker{kind: typeDealer, dialled: true}
	must(c.Write(h.start()))(b)
	buf := make([]byte, 256)
	for h.status != done {
		n := must(c.Read(buf))(b)
		out := must(h.input(buf[:n]))(b)
		must(c.Write(out))(b)
	}
	return c
}

// BenchmarkConnections: what an idle connection costs in memory, beside the same in libzmq's process.
func BenchmarkConnections(b *testing.B) {
	const many = 500
	footprint := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	resident := func(pid int) float64 {
		fields := strings.Fields(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)))(b)))
		return float64(must(strconv.Atoi(fields[1]))(b) * os.Getpagesize())
	}
	dial := func(address string) (conns []net.Conn) {
		for range many {
			conns = append(conns, handshakeOnly(b, address))
		}
		return conns
	}
	hangUp := func(conns []net.Conn) {
		for _, c := range conns {
			c.Close()
		}
	}
	program := compiled(b)
	for range b.N {
		address, _, pid := cSink(b, program, 1)
		one := handshakeOnly(b, address)
		theirs := resident(pid)
		before := footprint()
		conns := dial(address)
		clients := footprint() - before // our end of these, to be taken off below
		theirs = resident(pid) - theirs
		hangUp(append(conns, one))

		r := newRouter(b, Options{Heartbeat: Heartbeat{Interval: time.Hour, Timeout: 2 * time.Hour, TTL: -1}, Limits: Limits{PerPeer: many}})
		address = must(r.Listen(context.Background(), "127.0.0.1:0"))(b).String()
		before = footprint()
		conns = dial(address)
		waitFor(b, "all connections", func() bool { return len(r.Peers()) == many })
		for range many {
			expect(b, r, Up)
		}
		ours := footprint() - before - clients
		hangUp(conns)
		r.Close()
		b.ReportMetric(ours/many, "B/connection")
		b.ReportMetric(theirs/many, "libzmq-B/connection")
	}
}
