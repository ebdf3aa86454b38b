// Package seq has the sources, transforms, concurrent stages and sinks of pull-based pipelines.
package seq
