package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/pipeline/control"
)

var errBusy = errors.New("the service is busy")

// A client calls the service.
type client struct {
	http *http.Client
	url  string
}

// fill asks the service for the answer for one row. What its error says about trying
// again is for control.Retry.
func (c *client) fill(ctx context.Context, r row) (filled, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/rows/%d", c.url, r.id), strings.NewReader(r.name))
	if err != nil {
		return filled{}, control.Permanent(err)
	}
	// The same for every try in every run: the service charges for a key once.
	request.Header.Set("Idempotency-Key", fmt.Sprintf("backfill-%d", r.id))
	response, err := c.http.Do(request)
	if err != nil {
		return filled{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return filled{}, err
	}
	return filled{r, string(answer)}, failure(response)
}

// failure is the error that a response stands for, or nil.
func failure(response *http.Response) error {
	err := fmt.Errorf("the service answered %s", response.Status)
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusTooManyRequests:
		return control.RetryAfter(fmt.Errorf("%w: %w", errBusy, err), retryAfter(response.Header))
	case code >= 500:
		return err
	default:
		return control.Permanent(err) // the request is wrong, and will be
	}
}

// longestPause bounds what the service may ask for: who says a day, by mistake or not,
// is asked again before.
const longestPause = 10 * time.Second

// retryAfter is how long the service wants to be left alone.
func retryAfter(header http.Header) time.Duration {
	d, ok := control.ParseRetryAfter(header.Get("Retry-After"), time.Now())
	if !ok {
		d = time.Second
	}
	return min(d, longestPause)
}
