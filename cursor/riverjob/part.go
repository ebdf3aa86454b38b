package riverjob

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"example.com/pipeline/cursor"
)

// A Part is a range's output in a [Sink]. Write to it what the items become. It takes
// part in the range's checkpoint: each commit saves which objects it consists of, and
// how many bytes of each count. So every item's bytes are in the part exactly once,
// however often its workers were killed, suspended or cut off.
//
// Each slice writes an object of its own, under a name that was drawn for it. A worker
// that lost its range may still write to its own object. That is in no part, or counts no
// further than the worker's last commit.
//
// When the range is finished the objects are copied into one, under a new name again,
// and then removed; with [Job.Separate] they stay as they are. [Store.Parts] lists what
// the parts consist of.
type Part struct {
	ctx            context.Context // of the slice, for Mark
	sink           Sink
	prefix, suffix string
	check          func(context.Context) error // whether the range is still ours

	mu       sync.Mutex
	objects  []PartObject
	own      bool   // the last one was made here, so nothing is behind what counts
	open     Object // the last one; nil where the next bytes go to a new one
	unsynced bool
	buf      []byte // not yet written to an object
	mark     int    // of buf, this much belongs to consumed items
	err      error  // of an object, which ends the part
}

// A PartObject is a piece of a part.
type PartObject struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes that count; there may be more
	Sum  uint32 `json:"sum"`  // their CRC-32C
}

type partRecord struct {
	Objects []PartObject `json:"objects"`
}

const partBuffer = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var _ cursor.Participant = (*Part)(nil)

// Write implements [io.Writer]. What it is given belongs to the item in hand. It is kept
// in memory until that item is consumed, and then until there are 256 KiB or a commit.
func (p *Part) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	p.buf = append(p.buf, data...)
	return len(data), nil
}

// Mark implements [cursor.Participant].
func (p *Part) Mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark = len(p.buf)
	if p.mark >= partBuffer && p.err == nil && p.ctx.Err() == nil {
		p.flush(p.ctx)
	}
}

// Sync implements [cursor.Participant].
func (p *Part) Sync(ctx context.Context) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flush(ctx); p.err == nil && p.unsynced {
		more, err := p.open.Sync(ctx)
		p.fail("sync", err)
		p.unsynced = false
		if !more {
			p.letGo()
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return json.Marshal(partRecord{p.objects})
}

// flush writes out what was marked. Before that it looks whether the range is still
// this worker's.
func (p *Part) flush(ctx context.Context) {
	if p.mark == 0 || p.err != nil {
		return
	}
	if err := p.check(ctx); err != nil {
		p.err = err
		return
	}
	if p.open == nil && p.create(ctx) != nil {
		return
	}
	if !p.append(p.buf[:p.mark]) {
		return
	}
	p.buf = p.buf[:copy(p.buf, p.buf[p.mark:])]
	p.mark = 0
	if cap(p.buf) > 4*partBuffer && len(p.buf) < partBuffer {
		p.buf = slices.Clone(p.buf) // after a large item
	}
}

func (p *Part) create(ctx context.Context) error {
	name := newObjectName(p.prefix, p.suffix)
	object, err := p.sink.Create(ctx, name)
	if err != nil {
		return p.fail("create "+name, err)
	}
	p.open, p.own = object, true
	p.objects = append(p.objects, PartObject{Name: name})
	return nil
}

// append adds data to the open object.
func (p *Part) append(data []byte) bool {
	o := &p.objects[len(p.objects)-1]
	if _, err := p.open.Write(data); p.fail("write "+o.Name, err) != nil {
		return false
	}
	o.Size += int64(len(data))
	o.Sum = crc32.Update(o.Sum, castagnoli, data)
	p.unsynced = true
	return true
}

// fail keeps the first error of an object: how much of it was written is not known, so
// nothing can follow. The next slice begins a new one behind the last commit.
func (p *Part) fail(what string, err error) error {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("riverjob: part: %s: %w", what, err)
	}
	return p.err
}

func (p *Part) letGo() {
	if p.open != nil {
		p.fail("close", p.open.Close())
		p.open = nil
	}
}

// Restore implements [cursor.Participant]. It never writes to an object that is there.
func (p *Part) Restore(_ context.Context, state json.RawMessage) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var r partRecord
	if state != nil {
		if err := json.Unmarshal(state, &r); err != nil {
			return fmt.Errorf("%w: the part's state is %s", cursor.ErrCorrupt, state)
		}
	}
	p.letGo()
	p.objects, p.own, p.unsynced = r.Objects, false, false
	p.buf, p.mark, p.err = p.buf[:0], 0, nil
	return nil
}

// Close lets go of the open object. What no commit covers is not in the part.
func (p *Part) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := p.err != nil // and that error has been reported
	p.letGo()
	if failed {
		return nil
	}
	return p.err
}

// join makes one object of the part and returns the names of those that it was. Where
// it is one already, with nothing behind what counts, that stays. Call it when all is
// committed; the next commit saves the new one.
func (p *Part) join(ctx context.Context) (old []string, err error) {
	if _, err := p.Sync(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.objects) == 1 && p.own {
		return nil, nil
	}
	p.letGo()
	pieces := p.objects
	p.objects = nil
	if err := p.create(ctx); err != nil { // of no pieces, too: each range has an object
		return nil, err
	}
	p.unsynced = true
	buf := make([]byte, partBuffer)
	for _, o := range pieces {
		if err := p.copy(ctx, o, buf); err != nil {
			p.err = err
			return nil, err
		}
		old = append(old, o.Name)
	}
	return old, p.err
}

// copy appends what counts of an object to the open one.
func (p *Part) copy(ctx context.Context, o PartObject, buf []byte) error {
	r, err := readObject(ctx, p.sink, o)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := p.check(ctx); err != nil {
				return err
			}
			if !p.append(buf[:n]) {
				return p.err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// Objects describes the part as it was last synced.
func (p *Part) Objects() []PartObject {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.objects)
}
