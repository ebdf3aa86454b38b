package source

import (
	"bufio"
	"context"
	"errors"
	"net"
	"syscall"
)

// readBuffer is how many bytes are read from a server at a time, at most. The drivers read 4
// and 8 KB: where the server is ahead, more at a time spares calls of the system.
const readBuffer = 128 << 10

// A bufferedConn is a connection that reads much at a time.
type bufferedConn struct {
	net.Conn
	in      *bufio.Reader
	greeted func([]byte) // told of what the server sends first; nil afterwards
}

// dialBuffered connects as a driver would.
func (c *connections) dialBuffered(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &bufferedConn{conn, bufio.NewReaderSize(conn, readBuffer), c.addThread}, nil
}

// Read implements [net.Conn].
func (c *bufferedConn) Read(p []byte) (int, error) {
	if c.greeted != nil {
		if _, err := c.in.Peek(1); err != nil {
			return 0, err
		}
		greeting, _ := c.in.Peek(c.in.Buffered())
		c.greeted(greeting)
		c.greeted = nil
	}
	return c.in.Read(p)
}

// SyscallConn implements [syscall.Conn]: the driver looks by it whether the server has closed
// a connection that was idle.
func (c *bufferedConn) SyscallConn() (syscall.RawConn, error) {
	if conn, ok := c.Conn.(syscall.Conn); ok {
		return conn.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
