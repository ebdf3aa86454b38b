package batch

// Uniq returns a function that drops from a slice all but the first item of each
// key, and keeps the order. It is made for [example.com/pipeline/seq.Map] after a
// stage that makes batches; its error is always nil.
//
// The slice it is given is not changed, and the result shares no memory with it.
// The function may be used by several goroutines at once if key may. Uniq panics
// if key is nil.
func Uniq[T any, K comparable](key func(T) K) func([]T) ([]T, error) {
	checkFunc("Uniq", "key", key == nil)
	return func(items []T) ([]T, error) {
		seen := make(map[K]struct{}, len(items))
		first := make([]T, 0, len(items))
		for _, v := range items {
			k := key(v)
			before := len(seen)
			if seen[k] = struct{}{}; len(seen) > before {
				first = append(first, v)
			}
		}
		return first, nil
	}
}
