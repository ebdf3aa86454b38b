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

// tryLock fails: two runners at once would ruin each other's output, so without
// a lock there is no run.
func tryLock(f *os.File) error {
	return fmt.Errorf("lock %s: no file locks on %s; keep the checkpoint in a database: %w", f.Name(), runtime.GOOS, errors.ErrUnsupported)
}

func syncDir(string) error { return nil }
