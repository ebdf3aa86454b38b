package main

import (
	"fmt"
	"io"
	"log/slog"
)

// A voice tells what happens: people in lines of text, and with -log json programs in one
// object a line, with the fields of log/slog, the event's name and its figures.
type voice struct {
	to   io.Writer
	json *slog.Logger // nil for text
}

func newVoice(to io.Writer, format string) voice {
	v := voice{to: to}
	if format == "json" {
		v.json = slog.New(slog.NewJSONHandler(to, nil))
	}
	return v
}

// say tells what has no figures that a program would want.
func (v voice) say(format string, args ...any) { v.event("note", nil, format, args...) }

// event tells what has a name, and figures: pairs of their names and values, which the text
// for people has in its own way.
func (v voice) event(name string, figures []any, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if v.json == nil {
		fmt.Fprintln(v.to, text)
		return
	}
	v.json.With("event", name).Info(text, figures...)
}

// fail tells why a run ends before its export is complete.
func (v voice) fail(name string, figures []any, text string) {
	if v.json == nil {
		fmt.Fprintf(v.to, "export: %s\n", text)
		return
	}
	v.json.With("event", name).Error(text, figures...)
}
