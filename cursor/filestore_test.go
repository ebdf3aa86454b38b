package cursor_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
)

func newFileStore(t testing.TB, dir string) *cursor.FileStore {
	t.Helper()
	s, err := cursor.NewFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// storedFile commits position 41 to a job of a new store and returns the file.
func storedFile(t *testing.T) (store *cursor.FileStore, path string) {
	t.Helper()
	dir := t.TempDir()
	store = newFileStore(t, dir)
	c, err := cursor.Open[int](t.Context(), store, "job", cursor.WithFingerprint("of a query"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(t.Context(), 41); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return store, filepath.Join(dir, "job.checkpoint")
}

// TestDamagedFile damages each byte of a checkpoint in several ways, cuts it at each
// length, and puts other things in its place. All of it is ErrCorrupt, with the
// file and what to do in the message; none is a fresh start or another position.
func TestDamagedFile(t *testing.T) {
	store, path := storedFile(t)
	whole := readFile(t, path)
	check := func(data []byte, damage string) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := cursor.Open[int](t.Context(), store, "job")
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, cursor.ErrCorrupt) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "discard") {
			t.Errorf("%s: %v", damage, err)
		}
	}
	for i := range whole {
		for _, b := range []byte{0, ' ', '\n', '0', '9', 0xff, whole[i] ^ 1, whole[i] ^ 0x20, whole[i] + 1} {
			if b == whole[i] {
				continue
			}
			data := bytes.Clone(whole)
			data[i] = b
			check(data, fmt.Sprintf("byte %d is %q instead of %q", i, b, whole[i]))
		}
		check(whole[:i], fmt.Sprintf("cut after %d bytes", i))
		check(append(bytes.Clone(whole[:i]), whole[i+1:]...), fmt.Sprintf("byte %d is missing", i))
		check(append(bytes.Clone(whole[:i]), append([]byte{whole[i]}, whole[i:]...)...), fmt.Sprintf("byte %d is there twice", i))
	}
	check(make([]byte, len(whole)), "all zero")
	check(append(bytes.Clone(whole), '\n'), "a newline more")
	check(append(bytes.Clone(whole), whole...), "twice")
	check(bytes.Replace(whole, []byte("checkpoint 1"), []byte("checkpoint 2"), 1), "a newer format")

	if err := os.WriteFile(path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := cursor.Open[int](t.Context(), store, "job")
	if err != nil || *c.Position() != 41 {
		t.Fatalf("the undamaged file: %v", err)
	}
	c.Close()

	// Another job's file, under this one's name.
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), "other.checkpoint")); err != nil {
		t.Fatal(err)
	}
	if _, err := cursor.Open[int](t.Context(), store, "other"); !errors.Is(err, cursor.ErrCorrupt) || !strings.Contains(err.Error(), `of job "job"`) {
		t.Errorf("another job's file: %v", err)
	}
}

// TestDiscardDamagedFile starts afresh over a damaged file.
func TestDiscardDamagedFile(t *testing.T) {
	store, path := storedFile(t)
	if err := os.WriteFile(path, []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := cursor.Open[int](t.Context(), store, "job", cursor.Discard())
	if err != nil {
		t.Fatal(err)
	}
	if c.Position() != nil || c.Items() != 0 {
		t.Errorf("the position is %v", c.Position())
	}
	if err := c.Commit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c, err = cursor.Open[int](t.Context(), store, "job"); err != nil || *c.Position() != 1 {
		t.Fatalf("after Discard and a commit: %v", err)
	}
	c.Close()
}

// TestFileNames wants names of files that every file system keeps apart, all in the
// store's folder.
func TestFileNames(t *testing.T) {
	long := strings.Repeat("long", 100)
	names := map[string]string{
		"orders-2024_a": "orders-2024_a",
		"Orders":        "%4frders",
		"../up":         "%2e%2e%2fup",
		"a b":           "a%20b",
		"ä":             "%c3%a4",
		"%4f":           "%254f",
		"con.txt":       "con%2etxt",
		long + "1":      "", long + "2": "", strings.Repeat("Ä", 100): "",
	}
	dir := t.TempDir()
	store := newFileStore(t, dir)
	for job, file := range names {
		c, err := cursor.Open[string](t.Context(), store, job)
		if err != nil {
			t.Fatalf("job %q: %v", job, err)
		}
		defer c.Close()
		if err := c.Commit(t.Context(), job); err != nil {
			t.Fatalf("job %q: %v", job, err)
		}
		if file != "" {
			readFile(t, filepath.Join(dir, file+".checkpoint"))
		}
	}
	seen := map[string]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		lower := strings.ToLower(e.Name())
		if seen[lower] || len(lower) > 255 {
			t.Errorf("the file name %q is too long or another's but for case", e.Name())
		}
		seen[lower] = true
	}
	if len(seen) != 2*len(names) {
		t.Errorf("there are %d files, want a checkpoint and a lock for each of %d jobs", len(seen), len(names))
	}
}

// TestFileStoreLock wants a second runner to be told who has the job.
func TestFileStoreLock(t *testing.T) {
	dir := t.TempDir()
	c, err := cursor.Open[int](t.Context(), newFileStore(t, dir), "job")
	if err != nil {
		t.Fatal(err)
	}
	_, err = cursor.Open[int](t.Context(), newFileStore(t, dir), "job")
	var locked *cursor.LockedError
	if !errors.Is(err, cursor.ErrLocked) || !errors.As(err, &locked) || !strings.Contains(locked.Holder, fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "job.lock"), []byte("{\"pi"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err = newFileStore(t, dir).Acquire(t.Context(), "job"); !errors.Is(err, cursor.ErrLocked) {
		t.Errorf("with half a lock file: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = cursor.Open[int](t.Context(), newFileStore(t, dir), "job"); err != nil {
		t.Fatalf("a job that is free: %v", err)
	}
	c.Close()
}

// TestRemovedLockFile removes the lock under a runner: it must not save any more, since
// another could have the job by now.
func TestRemovedLockFile(t *testing.T) {
	dir := t.TempDir()
	store := newFileStore(t, dir)
	first, err := cursor.Open[int](t.Context(), store, "job")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := os.Remove(filepath.Join(dir, "job.lock")); err != nil {
		t.Fatal(err)
	}
	second, err := cursor.Open[int](t.Context(), store, "job")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.Commit(t.Context(), 1); !errors.Is(err, cursor.ErrFenced) {
		t.Errorf("the first runner's commit: %v", err)
	}
	if err := second.Commit(t.Context(), 2); err != nil {
		t.Errorf("the second runner's commit: %v", err)
	}
}

func TestFileStoreFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", file, filepath.Join(file, "below")} {
		if _, err := cursor.NewFileStore(dir); err == nil {
			t.Errorf("NewFileStore(%q) succeeded", dir)
		}
	}
}
