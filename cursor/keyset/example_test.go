package keyset_test

import (
	"encoding/json"
	"fmt"

	"example.com/pipeline/cursor/keyset"
)

func ExampleKey() {
	stored, err := json.Marshal(keyset.Key{int64(9007199254740993), "é", []byte{0, 255}})
	fmt.Println(string(stored), err)
	var key keyset.Key
	err = json.Unmarshal(stored, &key)
	fmt.Println(key, err)
	// Output:
	// [{"int":"9007199254740993"},{"text":"é"},{"bytes":"AP8="}] <nil>
	// [9007199254740993 é [0 255]] <nil>
}

func ExampleQuery_Fingerprint() {
	q := keyset.Query[string, int]{From: "orders", Where: "total > ?", Args: []any{100}, Key: []string{"id"}}
	paid := q
	paid.Where = "total > ? AND paid"
	bigger := q
	bigger.Page.Size = 5000
	fmt.Println(q.Fingerprint() == paid.Fingerprint(), q.Fingerprint() == bigger.Fingerprint())
	// Output: false true
}
