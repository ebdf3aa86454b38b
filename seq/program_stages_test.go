package seq_test

import (
	"context"
	"fmt"

	"example.com/pipeline/seq"
)

func isItem(p pair) bool { return p.err != nil && seq.IsItemError(p.err) }

// A programStep is a stage of a program and its model.
type programStep struct {
	name  string
	stage func(w *world, in ints, arg int) ints
	// model returns the outcome of the stage, or false where the stage would make it
	// depend on the order of what has none.
	model func(in outcome, arg int) (outcome, bool)
	// copies says that the stage ranges over its input more than once.
	copies bool
	// unscoped says that the stage may wait for its source while a panic passes, and knows
	// no Scope that it could end.
	unscoped bool
}

// programSteps are the stages of the chains, see steps, and the concurrent ones.
var programSteps = append(chainSteps(), []programStep{
	{name: "Map", stage: func(w *world, in ints, arg int) ints {
		return seq.Map(in, func(v int) (int, error) {
			defer w.enter(v)()
			return mapping(arg)(v)
		})
	}, model: mapped},
	{name: "MapConcurrent", stage: func(w *world, in ints, arg int) ints {
		return seq.MapConcurrent(w.ctx(), in, 1+arg%5, w.mapping(arg), seq.Window(1+arg/5%11))
	}, model: mapped},
	{name: "MapUnordered", stage: func(w *world, in ints, arg int) ints {
		return seq.MapUnordered(w.ctx(), in, 1+arg%5, w.mapping(arg), seq.Window(1+arg/5%11))
	}, model: func(in outcome, arg int) (outcome, bool) {
		out, ok := mapped(in, arg)
		return out.scatter(true), ok
	}},
	{name: "MapKeyed", stage: func(w *world, in ints, arg int) ints {
		return seq.MapKeyed(w.ctx(), in, 1+arg%5, func(v int) int {
			defer w.enter(v)()
			return v % (1 + arg%4)
		}, w.mapping(arg), seq.Window(1+arg/5%11))
	}, model: mapped},
	{name: "FlatMapConcurrent", stage: func(w *world, in ints, arg int) ints {
		return seq.FlatMapConcurrent(w.ctx(), in, 1+arg%4, func(ctx context.Context, v int) ints {
			return w.source(ctx, subStream(v, arg))
		}, seq.Window(1+arg/4%9))
	}, model: func(in outcome, arg int) (outcome, bool) {
		return in.each(func(p pair) []pair {
			if p.err != nil {
				return []pair{p}
			}
			return untilFinal(subStream(p.v, arg))
		}), true
	}},
	{name: "FlatMapUnordered", stage: func(w *world, in ints, arg int) ints {
		return seq.FlatMapUnordered(w.ctx(), in, 1+arg%4, func(ctx context.Context, v int) ints {
			return w.source(ctx, subStream(v, arg))
		}, seq.Window(1+arg/4%9))
	}, model: func(in outcome, arg int) (outcome, bool) {
		out := outcome{finals: in.finals, quiet: in.quiet, partial: in.partial}
		for _, lane := range in.lanes {
			for _, p := range lane {
				if p.err != nil {
					out = out.add([]pair{p})
				} else {
					out = out.add(untilFinal(subStream(p.v, arg)))
				}
			}
		}
		return out.scatter(false), true
	}},
	{name: "Buffer", stage: func(w *world, in ints, arg int) ints {
		return seq.Buffer(w.ctx(), in, 1+arg%9)
	}, model: unchanged},
	{name: "Scope", stage: func(w *world, in ints, arg int) ints {
		return seq.Scope(w.ctx(), func(ctx context.Context) ints {
			return seq.MapConcurrent(ctx, in, 1+arg%3, w.mapping(arg))
		})
	}, model: mapped},
	{name: "Pull", stage: func(w *world, in ints, arg int) ints { return w.pull(in, arg%4) }, model: unchanged, unscoped: true},
	{name: "Merge", stage: func(w *world, in ints, arg int) ints {
		return seq.Merge(w.ctx(), in, w.source(w.ctx(), sideScript(arg)))
	}, model: func(in outcome, arg int) (outcome, bool) {
		in.partial = in.partial || len(in.finals) > 0 // it does not wait for the other stream
		return in.add(untilFinal(sideScript(arg))).scatter(false), true
	}},
	{name: "Branch", stage: func(w *world, in ints, arg int) ints {
		return seq.Branch(w.ctx(), in, func(v int, err error) int {
			defer w.enter(v)()
			return route(pair{v, err})
		}, w.branch(arg), w.branch(arg/6), w.branch(arg/36))
	}, model: func(in outcome, arg int) (outcome, bool) {
		parts := in.split(3, route)
		for i := range parts {
			parts[i] = branchModel(parts[i], []int{arg, arg / 6, arg / 36}[i])
		}
		return in.union(parts), true
	}},
	{name: "Broadcast", stage: func(w *world, in ints, arg int) ints {
		return seq.Broadcast(w.ctx(), in, w.branch(arg), w.branch(arg/6))
	}, model: func(in outcome, arg int) (outcome, bool) {
		part := outcome{lanes: in.scatter(false).lanes, quiet: true}
		return in.union([]outcome{branchModel(part, arg), branchModel(part, arg/6)}), true
	}},
	{name: "Fork", stage: func(w *world, in ints, arg int) ints {
		return seq.Fork(w.ctx(), in, 1+arg/6%4, func(int) seq.Stage[int, int] { return w.branch(arg) })
	}, model: func(in outcome, arg int) (outcome, bool) {
		part := outcome{lanes: in.lanes, quiet: true}
		return in.union([]outcome{branchModel(part, arg)}).scatter(true), true
	}},
}...)

// chainSteps takes over the synchronous stages. Those that look at one pair at a time
// have a place behind any stage; the others need an order.
func chainSteps() (list []programStep) {
	for _, s := range steps {
		p := programStep{
			name:   s.name,
			stage:  func(_ *world, in ints, arg int) ints { return s.stage(in, arg) },
			copies: s.ahead,
			model: func(in outcome, arg int) (outcome, bool) {
				list, ok := in.list()
				if !ok {
					return outcome{}, false
				}
				return ordered(s.model(list, arg)), true
			},
		}
		switch s.name {
		case "Filter", "FlatMap", "Flatten", "Tap", "Catch":
			p.model = func(in outcome, arg int) (outcome, bool) {
				return in.each(func(p pair) []pair { return s.model([]pair{p}, arg) }), true
			}
		case "Map":
			continue // programSteps has one that naps
		}
		list = append(list, p)
	}
	return list
}

func mapped(in outcome, arg int) (outcome, bool) {
	return in.each(func(p pair) []pair { return modelMap([]pair{p}, arg) }), true
}

func unchanged(in outcome, _ int) (outcome, bool) { return in, true }

// route is the branch that a pair goes to.
func route(p pair) int {
	if p.err != nil {
		return len(p.err.Error()) % 3
	}
	return (p.v%3 + 3) % 3
}

// branch is the stage of a branch, one of six.
func (w *world) branch(arg int) seq.Stage[int, int] {
	switch arg % 6 {
	case 0:
		return func(in ints) ints { return in }
	case 1:
		return func(in ints) ints {
			return seq.Map(in, func(v int) (int, error) {
				defer w.enter(v)()
				return mapping(arg % 6)(v)
			})
		}
	case 2:
		return func(in ints) ints { return seq.MapConcurrent(w.ctx(), in, 2, w.mapping(arg%6)) }
	case 3:
		return func(in ints) ints { return seq.Buffer(w.ctx(), in, 2) }
	case 4:
		return func(in ints) ints {
			return seq.Map(seq.MapUnordered(w.ctx(), in, 3, w.mapping(arg%6), seq.Window(4)), func(v int) (int, error) {
				defer w.enter(v)()
				return v, nil
			})
		}
	}
	return func(in ints) ints {
		return seq.Fork(w.ctx(), in, 2, func(int) seq.Stage[int, int] { return w.branch(0) })
	}
}

func branchModel(in outcome, arg int) outcome {
	switch arg = arg % 6; arg {
	case 1, 2, 4:
		in, _ = mapped(in, arg)
	}
	if arg >= 4 {
		in = in.scatter(true)
	}
	return in
}

// pull is a stage around a Puller.
func (w *world) pull(in ints, ahead int) ints {
	return func(yield func(int, error) bool) {
		p := seq.Pull(in, ahead)
		defer p.Stop()
		for {
			v, err, ok := p.Next(w.ctx())
			if !ok || !yield(v, err) || err != nil && !seq.IsItemError(err) {
				return
			}
		}
	}
}

// mapping is a callback for a worker.
func (w *world) mapping(arg int) func(context.Context, int) (int, error) {
	return func(ctx context.Context, v int) (int, error) {
		defer w.enter(v)()
		if w.blocks && (v+arg)%5 == 0 {
			<-ctx.Done()
			return 0, fmt.Errorf("interrupted: %w", ctx.Err())
		}
		return mapping(arg)(v)
	}
}
