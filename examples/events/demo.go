package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

type config struct {
	db, api, listen string
	tick, lease     time.Duration
}

// run gathers events until gate is stopped.
func run(ctx context.Context, c config, gate *control.Gate) error {
	if err := os.MkdirAll(filepath.Dir(c.db), 0o755); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(c.db)+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY)"); err != nil {
		return err
	}

	pushed := make(chan event) // without a buffer: what it takes is on its way
	url, end, err := serve(ctx, c.listen, receive(pushed))
	if err != nil {
		return err
	}
	defer end()
	c.listen = url
	if c.api == "" {
		if c.api, end, err = serve(ctx, "127.0.0.1:0", http.HandlerFunc(demoAPI)); err != nil {
			return err
		}
		defer end()
		sending, stop := context.WithCancel(ctx)
		defer seq.Go(sending, func() { send(sending, c.listen) }).Join()
		defer stop()
	}
	if err := gather(ctx, c, gate, db, pushed); err != nil {
		return err
	}
	var n int64
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM events").Scan(&n); err != nil {
		return err
	}
	fmt.Println("done:", n, "events are stored")
	return nil
}

// serve serves requests. end ends the context of those under way, and waits for them.
func serve(ctx context.Context, addr string, handler http.Handler) (url string, end func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	serving := seq.Go(ctx, func() { server.Serve(listener) })
	return "http://" + listener.Addr().String(), func() {
		cancel()
		server.Shutdown(context.WithoutCancel(ctx))
		serving.Join()
	}, nil
}

// demoAPI lists what has happened, 50 times a second. Every tenth event was pushed as well.
func demoAPI(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
	limit, _ := strconv.ParseInt(r.FormValue("limit"), 10, 64)
	now := time.Now().UnixMilli() / 20
	after = max(after, now-1000) // it remembers 20 s
	page := []listing{}
	for n := after + 1; n <= min(after+limit, now); n++ {
		page = append(page, listing{n, demoID(n)})
	}
	json.NewEncoder(w).Encode(page)
}

func demoID(n int64) string { return fmt.Sprintf("event-%d", n) }

// send pushes every tenth of the API's events, again and again until it is accepted.
func send(ctx context.Context, url string) {
	push := control.Wrap(func(ctx context.Context, n int64) (int64, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(demoID(n)))
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		return n, response.Body.Close()
	}, control.Retry{Attempts: -1})
	for now, err := range seq.Ticks(ctx, 200*time.Millisecond) {
		if err == nil {
			_, err = push(ctx, now.UnixMilli()/20/10*10)
		}
		if err != nil {
			return // ctx has ended
		}
	}
}
