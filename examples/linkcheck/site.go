package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

type config struct {
	list, proxy, folder string
	rate                float64
	fresh               bool
}

// run checks the list, or the demo's.
func run(ctx context.Context, c config, gate *control.Gate) error {
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return err
	}
	if c.list == "" {
		c.list = filepath.Join(c.folder, "list.txt")
		if err := os.WriteFile(c.list, demoList(600), 0o666); err != nil {
			return err
		}
		if c.proxy == "" {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			server := &http.Server{Handler: new(site), ReadHeaderTimeout: 5 * time.Second}
			defer seq.Go(ctx, func() { server.Serve(listener) }).Join()
			defer server.Close()
			c.proxy = "http://" + listener.Addr().String()
		}
	}
	var proxy *url.URL
	if c.proxy != "" {
		var err error
		if proxy, err = url.Parse(c.proxy); err != nil {
			return err
		}
	}
	client := newClient(proxy)
	defer client.http.CloseIdleConnections()
	return check(ctx, c, client.ask, gate)
}

// demoList is a list of n links to pages of the site.
func demoList(n int) []byte {
	var list strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&list, "http://%s.example/page/%d\n", []string{"alpha", "beta", "gamma", "delta"}[i*7%11%4], i)
	}
	return []byte(list.String())
}

// A site is all hosts of the demo: it is asked as a proxy is.
type site struct {
	mu   sync.Mutex
	came map[string]bool
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/page/%d", &n); err != nil {
		http.NotFound(w, r)
		return
	}
	select {
	case <-time.After(time.Duration(10+n*37%30) * time.Millisecond):
	case <-r.Context().Done():
		return
	}
	switch {
	case n%37 == 0:
		panic(http.ErrAbortHandler) // cuts the connection
	case n%17 == 0:
		http.NotFound(w, r)
	case n%23 == 0:
		http.Redirect(w, r, "/page/1", http.StatusMovedPermanently)
	case n%29 == 0:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case n%31 == 0:
		http.Error(w, "busy for good", http.StatusServiceUnavailable)
	case n%13 == 0 && s.isFirst(r.URL.String()):
		w.Header().Set("Retry-After", "0")
		http.Error(w, "busy", http.StatusTooManyRequests)
	default:
		io.WriteString(w, "a page")
	}
}

func (s *site) isFirst(page string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.came == nil {
		s.came = map[string]bool{}
	}
	first := !s.came[page]
	s.came[page] = true
	return first
}
