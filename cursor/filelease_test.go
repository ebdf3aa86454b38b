package cursor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/fsys"
)

// lookAt makes the lock file of a job as a runner leaves it that was killed, and takes the
// lock of somebody who looks.
func lookAt(t *testing.T, dir string) *fsys.File {
	t.Helper()
	path := filepath.Join(dir, "job.lock")
	if err := os.WriteFile(path, []byte(`{"pid":1,"host":"dead","since":"2026-01-01T00:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	look, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { look.Close() })
	if err := look.TryLockShared(); err != nil {
		t.Skip(err) // no file locks here
	}
	return look
}

// TestAcquireWhileLookedAt acquires a job whose lock somebody has taken to look at it, until
// that ends.
func TestAcquireWhileLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		store, err := cursor.NewFileStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		look := lookAt(t, dir)
		var lease cursor.Lease
		go func() { lease, err = store.Acquire(t.Context(), "job") }()
		synctest.Wait()
		if held, err := cursor.Holder(t.Context(), store, "job"); held != nil || err != nil {
			t.Errorf("to a second look it is held by %v, %v", held, err)
		}
		if err := look.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if held, err := cursor.Holder(t.Context(), store, "job"); held == nil || err != nil {
			t.Errorf("it is held by %v, %v", held, err)
		}
		began := time.Now()
		if _, err := store.Acquire(t.Context(), "job"); !errors.Is(err, cursor.ErrLocked) || time.Since(began) > 0 {
			t.Errorf("a second runner got %v after %v", err, time.Since(began))
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAcquireWhileLookedAtForEver wants Acquire to give up at a look that does not end, and
// when its context ends, without the name of a dead runner.
func TestAcquireWhileLookedAtForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		store, err := cursor.NewFileStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		lookAt(t, dir)
		began := time.Now()
		_, err = store.Acquire(t.Context(), "job")
		if took := time.Since(began); !errors.Is(err, cursor.ErrLocked) || strings.Contains(err.Error(), "dead") || took > 100*time.Millisecond {
			t.Errorf("got %v after %v", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if _, err := store.Acquire(ctx, "job"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cursor.ErrLocked) {
			t.Errorf("with a context that ends: %v", err)
		}
	})
}
