package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/pipeline/control"
)

// An output hands over the first line that the program prints.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	first chan string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() == 0 {
		o.first <- string(p)
	}
	return o.text.Write(p)
}

// The program serves the numbers of its pipeline, and drains it in the end.
func TestRun(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out := &output{first: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", price, out) }()

	var line string
	select {
	case line = <-out.first:
	case err := <-ended:
		t.Fatal(err)
	}
	url := strings.TrimSpace(line[strings.Index(line, "http"):])
	for {
		resp, err := http.Get(url + "?format=json")
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Bottleneck string
			Stages     []control.StageStats
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.Bottleneck == price && len(answer.Stages) == 2 && answer.Stages[1].Items > 10 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := out.text.String(); !strings.Contains(got, " orders stored, ") {
		t.Errorf("printed %q", got)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("the page is still there after the end")
	}
}

func TestRunTellsWhereTheAddressIsTaken(t *testing.T) {
	err := run(t.Context(), "256.0.0.1:1", "", new(output))
	if err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("error %v", err)
	}
}
