//go:build !windows && (!unix || solaris || aix)

package fsys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// NoFollow does nothing here.
const NoFollow = 0

// AtEnd is for files that are written with Append. It does nothing here.
const AtEnd = 0

func appendTo(f *os.File, p []byte, off int64) (int, error) { return f.WriteAt(p, off) }

// tryLock fails: two runners at once would ruin each other's output, so without
// a lock there is no run.
func tryLock(f *os.File, _ bool) error {
	return fmt.Errorf("lock %s: no file locks on %s; keep the checkpoint in a database: %w", f.Name(), runtime.GOOS, errors.ErrUnsupported)
}

func syncDir(string) error { return nil }
