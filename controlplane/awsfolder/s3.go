package awsfolder

import (
	"crypto/md5" //nolint:gosec // what S3 has for an ETag
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"
	"time"
)

// serveS3 is GetObject, HeadObject and HeadBucket.
func (s *Services) serveS3(w http.ResponseWriter, r *http.Request, q *request, refused *refusal) {
	bucket, key := bucketAndKey(r)
	q.names = []string{path.Join(bucket, key)}
	q.operation = map[string]string{http.MethodGet: "GetObject", http.MethodHead: "HeadObject"}[r.Method]
	if key == "" && r.Method == http.MethodHead {
		q.operation = "HeadBucket"
	}
	if refused == nil && (q.operation == "" || q.operation == "GetObject" && key == "" || unsupported(r)) {
		refused = &refusal{status: http.StatusNotImplemented, code: "NotImplemented", message: "The local S3 knows GetObject, HeadObject and HeadBucket only."}
	}
	if refused == nil {
		refused = s.fault(r.Context(), q)
	}
	if refused == nil {
		refused = s.object(w, r, q, bucket, key)
	}
	s.note(q, refused)
	if refused != nil {
		writeXML(w, r, refused, bucket, key)
	}
}

// unsupported reports whether the query asks for something about an object. SDKs put
// x-id there, which says nothing.
func unsupported(r *http.Request) bool {
	for name := range r.URL.Query() {
		if name != "x-id" {
			return true
		}
	}
	return false
}

// bucketAndKey reads both styles: http://host/bucket/key and http://bucket.host/key.
func bucketAndKey(r *http.Request) (bucket, key string) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	for _, suffix := range []string{".localhost", ".s3.amazonaws.com"} {
		if bucket, ok := strings.CutSuffix(host, suffix); ok && bucket != "" {
			return bucket, name
		}
	}
	if bucket, rest, ok := strings.Cut(host, ".s3."); ok && strings.Contains(rest, ".amazonaws.") {
		return bucket, name
	}
	bucket, key, _ = strings.Cut(name, "/")
	return bucket, key
}

// object serves one; nil when it has answered.
func (s *Services) object(w http.ResponseWriter, r *http.Request, q *request, bucket, key string) *refusal {
	region, ok := s.bucketRegion(bucket)
	switch {
	case !ok:
		return &refusal{status: http.StatusNotFound, code: "NoSuchBucket", message: "The specified bucket does not exist"}
	case region != q.region:
		return &refusal{status: http.StatusMovedPermanently, code: "PermanentRedirect", region: region,
			message: "The bucket you are attempting to access must be addressed using the specified endpoint."}
	}
	w.Header().Set("X-Amz-Bucket-Region", region)
	if key == "" {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	f, info, err := s.open(s.in(region, "s3", bucket), key)
	if errors.Is(err, fs.ErrNotExist) {
		return &refusal{status: http.StatusNotFound, code: "NoSuchKey", message: "The specified key does not exist."}
	}
	if err != nil {
		return s.unreadable(q.names[0], err)
	}
	defer f.Close()
	tag := md5.Sum(fmt.Append(nil, q.names[0], info.Size(), info.ModTime())) //nolint:gosec // as above
	w.Header().Set("ETag", `"`+hex.EncodeToString(tag[:])+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime().Truncate(time.Second), f)
	return nil
}

// bucketRegion finds a bucket, whose names are the same in all regions.
func (s *Services) bucketRegion(bucket string) (string, bool) {
	if bucket == "" || strings.ContainsAny(bucket, `/\`) || strings.Trim(bucket, ".") == "" {
		return "", false
	}
	regions := []string{s.region}
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return "", false
	}
	for _, e := range entries {
		regions = append(regions, e.Name())
	}
	for _, region := range regions {
		if info, err := s.root.Stat(s.in(region, "s3", bucket)); err == nil && info.IsDir() {
			return region, true
		}
	}
	return "", false
}

// writeXML writes an error as S3 does.
func writeXML(w http.ResponseWriter, r *http.Request, refused *refusal, bucket, key string) {
	w.Header().Set("Content-Type", "application/xml")
	if refused.region != "" {
		w.Header().Set("X-Amz-Bucket-Region", refused.region)
	}
	w.WriteHeader(refused.status)
	if r.Method == http.MethodHead {
		return
	}
	document := struct {
		XMLName                             xml.Name `xml:"Error"`
		Code, Message, BucketName, Key      string
		Region, Endpoint, RequestId, HostId string `xml:",omitempty"` //nolint:revive // names of the API
	}{Code: refused.code, Message: refused.message, BucketName: bucket, Key: key, Region: refused.region, RequestId: "LOCAL"}
	text, err := xml.Marshal(document)
	if err == nil {
		_, _ = w.Write(append([]byte(xml.Header), text...)) // the client may be gone
	}
}
