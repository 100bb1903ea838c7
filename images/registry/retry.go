package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// maxWait bounds the wait between tries, whatever the registry asks for.
const maxWait = time.Minute

// pause is the wait after the given number of failures.
func (o Options) pause(failures int) time.Duration {
	wait := o.Wait
	for range failures - 1 {
		if wait *= 2; wait >= maxWait {
			return maxWait
		}
	}
	return wait
}

// sleep waits, or returns why the context ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retrying asks again when the registry says that it is busy or failing. What
// has a body that cannot be had again is asked once.
type retrying struct {
	next http.RoundTripper
	o    Options
}

func (r *retrying) RoundTrip(request *http.Request) (*http.Response, error) {
	for failures := 1; ; failures++ {
		response, err := r.next.RoundTrip(request)
		if failures >= r.o.Tries || !repeatable(request) || !passing(response, err) {
			return response, err
		}
		wait := r.o.pause(failures)
		if response != nil {
			wait = max(wait, retryAfter(response))
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
			_ = response.Body.Close()
		}
		if err := sleep(request.Context(), min(wait, maxWait)); err != nil {
			return nil, err
		}
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			request = request.Clone(request.Context())
			request.Body = body
		}
	}
}

func repeatable(request *http.Request) bool {
	if request.Method == http.MethodPatch {
		// Part of it may have been taken: the upload starts over instead.
		return false
	}
	return request.Body == nil || request.Body == http.NoBody || request.GetBody != nil
}

func passing(response *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func retryAfter(response *http.Response) time.Duration {
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return time.Until(at)
	}
	return 0
}
