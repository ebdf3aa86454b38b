package riverjob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"

	"example.com/pipeline/cursor/riverjob"
)

// A bucket is an object store in memory: an object is there when its upload is whole,
// and cannot be changed then.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	begun   int   // uploads
	fail    error // of uploads
}

func newBucket() *bucket { return &bucket{objects: map[string][]byte{}} }

func (b *bucket) Create(_ context.Context, name string) (riverjob.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun++
	return &upload{to: b, name: name}, nil
}

func (b *bucket) Open(_ context.Context, name string) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b *bucket) Remove(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, name)
	return nil
}

func (b *bucket) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range b.names() {
			if strings.HasPrefix(name, prefix) && !yield(name, nil) {
				return
			}
		}
	}
}

func (b *bucket) names() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.objects {
		names = append(names, name)
	}
	return names
}

type upload struct {
	bytes.Buffer
	to   *bucket
	name string
	done bool
}

func (u *upload) Write(p []byte) (int, error) {
	if u.done {
		return 0, errors.New("the upload is over")
	}
	return u.Buffer.Write(p)
}

func (u *upload) Sync(context.Context) (more bool, err error) {
	u.to.mu.Lock()
	defer u.to.mu.Unlock()
	if u.to.fail != nil {
		return false, u.to.fail
	}
	if _, taken := u.to.objects[u.name]; taken {
		return false, fmt.Errorf("object %s is there", u.name) // If-None-Match: *
	}
	u.done = true
	u.to.objects[u.name] = u.Bytes()
	return false, nil
}

func (u *upload) Close() error { return nil }
