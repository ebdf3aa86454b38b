package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

type stream = iter.Seq2[event, error]

// ticks counts on from the last one stored.
func ticks(ctx context.Context, every time.Duration, last int64) stream {
	return seq.Scan(seq.Ticks(ctx, every), event{positions: positions{Tick: last}}, func(e event, _ time.Time) event {
		e.Tick++
		e.id = fmt.Sprintf("tick-%d", e.Tick)
		return e
	})
}

// A listing is an event as the API has it.
type listing struct {
	N  int64  `json:"n"`
	ID string `json:"id"`
}

// listed asks the API for what comes after the last one stored, ten times a second when
// there is nothing, and however often it fails.
func listed(ctx context.Context, api string, last int64) stream {
	list := func(ctx context.Context, after *event, limit int) (events []event, err error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s?after=%d&limit=%d", api, after.API, limit), nil)
		if err != nil {
			return nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, errors.New(response.Status)
		}
		var page []listing
		err = json.NewDecoder(response.Body).Decode(&page)
		for _, l := range page {
			events = append(events, event{l.ID, positions{API: l.N}})
		}
		return events, err
	}
	return cursor.Pages(ctx, &event{positions: positions{API: last}}, list, func(e event) event { return e }, cursor.PageConfig{
		Size: 100, Follow: 100 * time.Millisecond, Retry: control.Retry{Attempts: -1}.Do,
	})
}

// receive hands over each event that is posted, whose id is the body, and accepts it then.
func receive(pushed chan<- event) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := io.ReadAll(io.LimitReader(r.Body, 200))
		if err != nil || len(id) == 0 || r.Method != http.MethodPost {
			http.Error(w, "an event is posted as its id", http.StatusBadRequest)
			return
		}
		select {
		case pushed <- event{id: strings.TrimSpace(string(id))}:
			w.WriteHeader(http.StatusAccepted)
		case <-r.Context().Done(): // also when the server is to end
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	}
}
