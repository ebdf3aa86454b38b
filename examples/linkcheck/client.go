package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
)

// An answer is a link of the list with what became of it.
type answer struct {
	link   cursor.Line
	status string
}

func (a answer) position() int64 { return a.link.Offset }

func host(l cursor.Line) string {
	u, err := url.Parse(l.Text)
	if err != nil {
		return ""
	}
	return u.Host
}

// A client asks for links.
type client struct{ http *http.Client }

func newClient(proxy *url.URL) client {
	transport := &http.Transport{MaxIdleConnsPerHost: 2}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	return client{&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a link that has moved is one to report
	}}
}

// A busyError is the status of a host that says to come again.
type busyError int

func (e busyError) Error() string { return fmt.Sprintf("the host answered %d", int(e)) }

func (c client) ask(ctx context.Context, l cursor.Line) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.Text, nil)
	if err != nil {
		return answer{}, control.Permanent(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	switch code := response.StatusCode; code {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if d, ok := control.ParseRetryAfter(response.Header.Get("Retry-After"), time.Now()); ok {
			return answer{}, control.RetryAfter(busyError(code), min(d, 10*time.Second))
		}
		return answer{}, busyError(code)
	default:
		return answer{l, strconv.Itoa(code)}, nil
	}
}
