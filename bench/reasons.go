package main

// reasons says why this library is behind the best peer: by table and column, or
// by table where all its columns have the same reason. What is lost and has none
// is reported as not explained yet.
var reasons = map[string]string{}
