package control

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// tree prints which stages pull on which: "a b>c" where c pulls on a and b. The source of
// a fan has a star.
func tree(m *Monitor) string {
	nodes := m.list()
	above := map[int][]string{}
	for _, n := range nodes {
		name := n.stats.Name
		if n.feeds {
			name += "*"
		}
		above[n.below] = append(above[n.below], name)
	}
	var parts []string
	for i := range nodes {
		if len(above[i]) > 0 {
			parts = append(parts, strings.Join(above[i], " ")+">"+nodes[i].stats.Name)
		}
	}
	return strings.Join(append(parts, strings.Join(above[-1], " ")), ", ")
}

// ticking is an idle source.
func ticking(ctx context.Context) intStream {
	return seq.Map(seq.Ticks(ctx, time.Hour), func(time.Time) (int, error) { return 0, nil })
}

// every is a source with an item every d, without end.
func every(ctx context.Context, d time.Duration) intStream {
	return seq.FromFunc(ctx, func(ctx context.Context) (int, error) { return 1, sleep(ctx, d) })
}

// takes is a callback that takes d.
func takes(d time.Duration) func(context.Context, int) (int, error) {
	return func(ctx context.Context, v int) (int, error) { return v, sleep(ctx, d) }
}

// watched runs a pipeline for a minute. The loop's body takes d.
func watched(t *testing.T, d time.Duration, build func(ctx context.Context, m *Monitor) intStream) *Monitor {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := NewMonitor()
	for range build(ctx, m) {
		time.Sleep(d)
	}
	return m
}

// The stage that the most work waits for is named, and a source before a join only where
// nothing comes from any.
func TestBottleneckBehindAJoin(t *testing.T) {
	type build = func(ctx context.Context, m *Monitor) intStream
	// merged merges an idle ticker, in either order, with a channel that has an item every d.
	merged := func(first bool, d time.Duration) build {
		return func(ctx context.Context, m *Monitor) intStream {
			ticks, channel := ticking(ctx), every(ctx, d)
			if first {
				ticks = Observe(m, "ticks", ticks)
				channel = Observe(m, "channel", channel)
			} else {
				channel = Observe(m, "channel", channel)
				ticks = Observe(m, "ticks", ticks)
			}
			return seq.Merge(ctx, ticks, channel)
		}
	}
	calls := func(in build, n int, d time.Duration) build {
		return func(ctx context.Context, m *Monitor) intStream {
			return Observe(m, "call", seq.MapConcurrent(ctx, in(ctx, m), n, takes(d)))
		}
	}
	for _, first := range []bool{true, false} {
		for _, tt := range []struct {
			name  string
			body  time.Duration
			build build
			want  string
		}{
			{"slow calls", ms, calls(merged(first, ms), 4, 40*ms), "call"},
			{"slow consumer", 20 * ms, calls(merged(first, ms), 4, 2*ms), Consumer},
			{"slow consumer, nothing else observed", 20 * ms, merged(first, ms), Consumer},
			{"the channel is idle, too", ms, calls(merged(first, 50*ms), 4, 2*ms), "channel"},
			{"both are idle", ms, calls(merged(first, 20*s), 4, 2*ms), "channel"},
			{"the merge is observed", ms, calls(func(ctx context.Context, m *Monitor) intStream {
				return Observe(m, "merged", merged(first, ms)(ctx, m))
			}, 4, 40*ms), "call"},
			{"goroutines between", ms, calls(func(ctx context.Context, m *Monitor) intStream {
				return seq.Buffer(ctx, seq.Buffer(ctx, merged(first, ms)(ctx, m), 3), 3)
			}, 4, 40*ms), "call"},
			{"a chain in a branch", ms, calls(func(ctx context.Context, m *Monitor) intStream {
				slow := Observe(m, "slow", seq.MapConcurrent(ctx, Observe(m, "rows", every(ctx, ms)), 2, takes(100*ms)))
				return seq.Merge(ctx, slow, Observe(m, "ticks", ticking(ctx)))
			}, 4, 10*ms), "slow"},
			{"one source has ended", ms, calls(func(ctx context.Context, m *Monitor) intStream {
				return seq.Merge(ctx, Observe(m, "history", seq.Take(every(ctx, 0), 1000)), Observe(m, "live", every(ctx, 100*ms)))
			}, 4, 2*ms), "live"},
		} {
			t.Run(fmt.Sprintf("%s, ticks first=%t", tt.name, first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := watched(t, tt.body, tt.build)
					if got, ok := m.Bottleneck(); got != tt.want || !ok {
						t.Errorf("bottleneck %q, want %q: %s\n%s", got, tt.want, tree(m), m)
					}
				})
			})
		}
	}
}

func TestBottleneckOfFans(t *testing.T) {
	type stage = seq.Stage[int, int]
	lane := func(ctx context.Context, m *Monitor, name string, d time.Duration) stage {
		return func(in intStream) intStream {
			return Observe(m, name, seq.Map(in, func(v int) (int, error) { return v, sleep(ctx, d) }))
		}
	}
	for name, tt := range map[string]struct {
		source, one, two, body time.Duration
		want                   string
	}{
		"slow source":   {100 * ms, ms, ms, ms, "rows"},
		"slow lane":     {ms, 100 * ms, 0, ms, "one"},
		"slow consumer": {ms, 4 * ms, 4 * ms, 50 * ms, Consumer},
	} {
		for kind, build := range map[string]func(ctx context.Context, in intStream, one, two stage) intStream{
			"Fork": func(ctx context.Context, in intStream, one, _ stage) intStream {
				return seq.Fork(ctx, in, 2, func(int) stage { return one })
			},
			"Broadcast": func(ctx context.Context, in intStream, one, two stage) intStream {
				return seq.Broadcast(ctx, in, one, two)
			},
			"Branch": func(ctx context.Context, in intStream, one, two stage) intStream { // one way is hardly taken
				n := 0
				return seq.Branch(ctx, in, func(int, error) int { n++; return n % 1000 / 999 }, one, two)
			},
		} {
			for _, apart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, apart=%t", kind, name, apart), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						m := watched(t, tt.body, func(ctx context.Context, m *Monitor) intStream {
							out := build(ctx, Observe(m, "rows", every(ctx, tt.source)), lane(ctx, m, "one", tt.one), lane(ctx, m, "two", tt.two))
							if apart {
								out = seq.Buffer(ctx, out, 2)
							}
							return Observe(m, "after", out)
						})
						if got, ok := m.Bottleneck(); got != tt.want || !ok {
							t.Errorf("bottleneck %q, want %q: %s\n%s", got, tt.want, tree(m), m)
						}
					})
				})
			}
		}
	}
}

// The Monitor sees which stage pulls on which, whatever is between them.
func TestPlaces(t *testing.T) {
	type build = func(ctx context.Context, see func(name string, in intStream) intStream) intStream
	of := func(ctx context.Context) intStream { return each(upTo(5), ms) }
	for name, tt := range map[string]struct {
		build build
		want  string
	}{
		"chain in one goroutine": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.Take(see("b", seq.Skip(see("a", of(ctx)), 1)), 3))
		}, "a>b, b>c, c"},
		"chain of many": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			b := see("b", seq.MapConcurrent(ctx, see("a", of(ctx)), 2, takes(0)))
			c := see("c", seq.MapUnordered(ctx, seq.Buffer(ctx, b, 2), 2, takes(0)))
			return see("d", seq.MapKeyed(ctx, c, 2, func(v int) int { return v }, takes(0)))
		}, "a>b, b>c, c>d, d"},
		"control's own": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			a := IdleTimeout(ctx, s, func(ctx context.Context) intStream { return see("a", of(ctx)) })
			b := Until(ctx, new(Gate), func(ctx context.Context) intStream { return see("b", Heartbeat(ctx, a, s, func(Beat) {})) })
			return see("c", Gated(ctx, Sample(ctx, b, ms), new(Gate)))
		}, "a>b, b>c, c"}, // in order of their first Observe it would be c, b, a
		"Merge": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.Merge(ctx, see("a", of(ctx)), see("b", of(ctx))))
		}, "a b>c, c"},
		"Merge without a stage behind": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return seq.Merge(ctx, see("a", of(ctx)), see("b", of(ctx)), see("c", of(ctx)))
		}, "a b c"},
		"Merge behind others": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			in := seq.Merge(ctx, seq.Buffer(ctx, see("a", of(ctx)), 2), seq.Filter(see("b", of(ctx)), func(int) bool { return true }))
			return see("c", seq.MapConcurrent(ctx, seq.Scope(ctx, func(context.Context) intStream { return in }), 2, takes(0)))
		}, "a b>c, c"},
		"Merge in a Merge": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			c := see("c", seq.Merge(ctx, see("a", of(ctx)), see("b", of(ctx))))
			return see("e", seq.Merge(ctx, c, see("d", of(ctx))))
		}, "a b>c, c d>e, e"},
		"chains in a Merge": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			b := see("b", seq.MapConcurrent(ctx, see("a", of(ctx)), 2, takes(0)))
			d := see("d", seq.Take(see("c", of(ctx)), 3))
			return see("e", seq.MapConcurrent(ctx, seq.Merge(ctx, b, d), 2, takes(0)))
		}, "a>b, c>d, b d>e, e"},
		"MergeSorted": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.MergeSorted(cmp.Compare[int], see("a", of(ctx)), see("b", seq.Buffer(ctx, of(ctx), 2))))
		}, "a b>c, c"},
		"Zip": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.Zip(see("a", of(ctx)), see("b", of(ctx)), func(a, _ int) (int, error) { return a, nil }))
		}, "a b>c, c"},
		"Fork": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.Fork(ctx, see("a", of(ctx)), 3, func(int) seq.Stage[int, int] {
				return func(in intStream) intStream { return see("b", seq.Map(in, func(v int) (int, error) { return v, nil })) }
			}))
		}, "a* b>c, c"},
		"Fork of concurrent lanes": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			in := seq.MapConcurrent(ctx, see("a", of(ctx)), 2, takes(0))
			return see("d", seq.MapConcurrent(ctx, seq.Fork(ctx, in, 2, func(int) seq.Stage[int, int] {
				return func(in intStream) intStream { return see("c", seq.MapConcurrent(ctx, see("b", in), 2, takes(0))) }
			}), 2, takes(0)))
		}, "b>c, a* c>d, d"},
		"Broadcast": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			lane := func(name string) seq.Stage[int, int] {
				return func(in intStream) intStream { return see(name, in) }
			}
			return see("d", seq.Broadcast(ctx, see("a", of(ctx)), lane("b"), lane("c")))
		}, "a* b c>d, d"},
		"FlatMap": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.FlatMap(see("a", of(ctx)), func(int) intStream { return see("b", of(ctx)) }))
		}, "b>c, a>b, c"},
		"FlatMapConcurrent": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.FlatMapConcurrent(ctx, see("a", of(ctx)), 2, func(ctx context.Context, _ int) intStream { return see("b", of(ctx)) }))
		}, "a* b>c, c"},
		"FlatMapUnordered of more": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			in := seq.Buffer(ctx, see("a", of(ctx)), 2)
			return see("c", seq.Buffer(ctx, seq.FlatMapUnordered(ctx, in, 2, func(ctx context.Context, _ int) intStream {
				return seq.Buffer(ctx, see("b", of(ctx)), 2)
			}), 2))
		}, "a* b>c, c"},
		"FlatMap of merges": {func(ctx context.Context, see func(string, intStream) intStream) intStream {
			return see("c", seq.FlatMap(of(ctx), func(int) intStream { return seq.Merge(ctx, see("a", of(ctx)), see("b", of(ctx))) }))
		}, "a b>c, c"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // whoever is first
				synctest.Test(t, func(t *testing.T) {
					m := NewMonitor()
					build := func() intStream {
						return tt.build(t.Context(), func(name string, in intStream) intStream { return Observe(m, name, in) })
					}
					var in iter.Seq2[int, error] = build()
					if err := seq.Drain(in); err != nil {
						t.Fatal(err)
					}
					if got := tree(m); sortedParts(got) != sortedParts(tt.want) {
						t.Errorf("got %s, want %s", got, tt.want)
					}
					if len(m.running) != 0 {
						t.Errorf("%d loops are left", len(m.running))
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// sortedParts puts what stands side by side, and the parts, into order.
func sortedParts(tree string) string {
	parts := strings.Split(tree, ", ")
	for i, p := range parts {
		above, below, _ := strings.Cut(p, ">")
		names := strings.Fields(above)
		slices.Sort(names)
		parts[i] = strings.Join(names, " ") + ">" + below
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// What cannot be read is left out, and a stage of which nothing is known stands where it
// was observed.
func TestParseStack(t *testing.T) {
	for text, want := range map[string]where{
		"":                                  {},
		"goroutine x [running]:":            {},
		"goroutine 18 [running]:\nmain.f()": {goroutine: 18},
		"goroutine 8 [running, synctest bubble 1]:\nmain.f()\n\t/f.go:1\ncreated by main.g in goroutine 7\n\t/f.go:2\n":       {goroutine: 8, by: 7},
		"goroutine 8 [running]:\nx/seq.(*fan[...]).feed(0xc000)\n\t/f.go:1\ncreated by x":                                     {goroutine: 8, feeds: true},
		"goroutine 8 [running]:\nx/seq.(*keyed[...]).work(0xc000)\n\t/f.go:1\ncreated by x in goroutine 99999999999999999999": {goroutine: 8, by: 1<<64 - 1, calls: true},
	} {
		if got := parseStack(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	m := NewMonitor()
	for _, name := range []string{"a", "b", "c"} {
		Observe(m, name, upTo(1))
	}
	if got := tree(m); got != "a>b, b>c, c" {
		t.Errorf("nothing has run: %s", got)
	}
}

// A pipeline in a callback of another one, and one in the body of another's loop, are
// pipelines by themselves.
func TestPlacesOfPipelinesInPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, inner := NewMonitor(), NewMonitor()
		out := seq.MapConcurrent(t.Context(), Observe(m, "rows", upTo(5)), 2, func(ctx context.Context, v int) (int, error) {
			merged := seq.Merge(ctx, Observe(inner, "a", each(upTo(3), ms)), Observe(inner, "b", each(upTo(3), ms)))
			return v, seq.Drain(Observe(inner, "d", Observe(inner, "c", merged)))
		})
		for range Observe(m, "done", out) {
			seq.Drain(Observe(m, "body", upTo(2)))
		}
		if got := sortedParts(tree(inner)); got != sortedParts("a b>c, c>d, d") {
			t.Errorf("in the callback: %s", got)
		}
		if got := tree(m); !strings.Contains(got, "rows>done") || strings.Contains(got, "body>") {
			t.Errorf("around it: %s", got)
		}
	})
}
