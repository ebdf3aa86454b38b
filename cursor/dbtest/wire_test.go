package dbtest

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A wire is a proxy before a database server that can be cut at the worst moment:
// when the server has carried out a request and its answer is on the way.
type wire struct {
	net.Listener
	network, server string

	mu    sync.Mutex
	conns map[net.Conn]bool
	cut   atomic.Int32 // answers to swallow, each with its connection
	cuts  atomic.Int32
	after string      // only the answer to a request that has this in it
	asked atomic.Bool // there was such a request
}

func newWire(t testing.TB, network, server, after string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, network: network, server: server, after: after, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() { w.serve(&serving) })
	t.Cleanup(func() {
		l.Close()
		w.cutAll()
		serving.Wait()
	})
	return w
}

func (w *wire) serve(serving *sync.WaitGroup) {
	for {
		client, err := w.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(w.network, w.server)
		if err != nil {
			client.Close()
			continue
		}
		w.mu.Lock()
		w.conns[client], w.conns[server] = true, true
		w.mu.Unlock()
		serving.Go(func() { w.requests(client, server); w.end(client, server) })
		serving.Go(func() { w.answers(client, server); w.end(client, server) })
	}
}

// requests passes on what the client says.
func (w *wire) requests(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if bytes.Contains(buf[:n], []byte(w.after)) {
			w.asked.Store(true)
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// answers passes on what the server says.
func (w *wire) answers(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 && w.cut.Load() > 0 && w.asked.Swap(false) {
			w.cut.Add(-1)
			w.cuts.Add(1)
			return
		}
		if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (w *wire) end(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(w.conns, c)
	}
}

// cutAll cuts every connection there is, as a server does that restarts.
func (w *wire) cutAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
}
