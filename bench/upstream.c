/* A benchmark upstream: one thread, epoll, keep-alive HTTP/1.1. Far cheaper than any gateway, so
 * the gateway is what gets measured.            build: cc -O2 -o upstream upstream.c
 * usage: upstream PORT [TOOLS [ERA]]
 *   POST /mcp                  Streamable HTTP MCP, modern (2026-07-28, stateless) and legacy (initialize
 *                              + Mcp-Session-Id). Tools: echo{text}  blob{} (100 KiB)  sleep{ms}, and more
 *                              that nobody calls, up to TOOLS. ERA "legacy" refuses modern requests.
 *                              Any other path of a POST is the same server.
 *   POST /v1/chat/completions  OpenAI-compatible. "stream":true sends SSE chunks, paced by the model name:
 *                              "fake-200x2000" = 200 chunks, 2000 us apart (x0 = one write each, no wait).
 *                              Every chunk's content is "t=<CLOCK_MONOTONIC ns>" so a client on the same
 *                              machine reads each chunk's transit time.  "fail-500" / "fail-429" answer so.
 *                              The answer's id ends with the request's "user".
 *   GET /stats                 counters as JSON (connections, posts, gets, per-method counts); GET /health */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct { const char *p; size_t n; } Str;
typedef struct Conn {
  int fd, busy, heap, left; unsigned gen;    /* busy: a timed answer is pending; left: SSE chunks still to send */
  long gap; long long due;                   /* ns between chunks; next action */
  char *in; size_t inlen, incap;
  char *out; size_t outoff, outlen, outcap;
  char id[80], who[24]; int modern, idn;     /* who: whose request it is, told again in the answer */
} Conn;

static int ep;
static struct { long conns, posts, gets, deletes, initialize, discover, list, call, notify, other, llm, bytes_in; } st;
static char *blob;

static long long now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }

/* ---- timers: a binary heap of connections, by due time ---- */
static Conn **heap; static int hn, hcap;
static void hset(int i, Conn *c) { heap[i] = c; c->heap = i; }
static void hsift(int i) {
  Conn *c = heap[i];
  while (i && heap[(i - 1) / 2]->due > c->due) { hset(i, heap[(i - 1) / 2]); i = (i - 1) / 2; }
  for (int k; (k = 2 * i + 1) < hn; i = k) {
    if (k + 1 < hn && heap[k + 1]->due < heap[k]->due) k++;
    if (heap[k]->due >= c->due) break;
    hset(i, heap[k]);
  }
  hset(i, c);
}
static void hpush(Conn *c) { if (hn == hcap) heap = realloc(heap, (hcap = hcap * 2 + 64) * sizeof *heap); heap[hn] = c; c->heap = hn; hsift(hn++); }
static void hdel(Conn *c) { int i = c->heap; if (i < 0) return; c->heap = -1; if (i != --hn) { hset(i, heap[hn]); hsift(i); } }

/* ---- output ---- */
static void put(Conn *c, const char *p, size_t n) {
  if (c->outlen + n > c->outcap) c->out = realloc(c->out, c->outcap = (c->outlen + n) * 2);
  memcpy(c->out + c->outlen, p, n); c->outlen += n;
}
static int flush_out(Conn *c) {              /* 0 ok, -1 dead */
  while (c->outoff < c->outlen) {
    ssize_t n = send(c->fd, c->out + c->outoff, c->outlen - c->outoff, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) return -1;
      struct epoll_event e = {EPOLLIN | EPOLLOUT, {.ptr = c}}; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); return 0;
    }
    c->outoff += n;
  }
  c->outoff = c->outlen = 0; return 0;
}
static void respond(Conn *c, int status, const char *extra, const char *ctype, const char *body, size_t n) {
  char h[512];
  int k = snprintf(h, sizeof h, "HTTP/1.1 %d %s\r\n%s%s%s%sContent-Length: %zu\r\n\r\n", status,
      status == 200 ? "OK" : status == 202 ? "Accepted" : "X", extra, n ? "Content-Type: " : "", n ? ctype : "", n ? "\r\n" : "", n);
  put(c, h, k); put(c, body, n);
}
static void respond_json(Conn *c, const char *body, size_t n) { respond(c, 200, "", "application/json", body, n); }

/* ---- a JSON scanner that only finds members ---- */
static const char *skip_ws(const char *p, const char *e) { while (p < e && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++; return p; }
static const char *skip_str(const char *p, const char *e) { for (p++; p < e && *p != '"'; p++) if (*p == '\\') p++; return p < e ? p + 1 : e; }
static const char *skip_val(const char *p, const char *e) {
  if (p >= e) return e;
  if (*p == '"') return skip_str(p, e);
  if (*p == '{' || *p == '[') {
    int d = 0;
    while (p < e) {
      if (*p == '"') { p = skip_str(p, e); continue; }
      if (*p == '{' || *p == '[') d++;
      if (*p == '}' || *p == ']') if (!--d) return p + 1;
      p++;
    }
    return e;
  }
  while (p < e && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' && *p != '\r') p++;
  return p;
}
static Str get(Str o, const char *key) {     /* the raw value of a member of object o, or {0} */
  const char *p = skip_ws(o.p, o.p + o.n), *e = o.p + o.n; size_t kn = strlen(key);
  if (p >= e || *p != '{') return (Str){0};
  for (p = skip_ws(p + 1, e); p < e && *p == '"'; p = skip_ws(p + 1, e)) {
    const char *k = p + 1; p = skip_str(p, e); size_t n = p - 1 - k;
    p = skip_ws(p, e); if (p < e) p = skip_ws(p + 1, e);
    const char *v = p; p = skip_val(p, e);
    if (n == kn && !memcmp(k, key, n)) return (Str){v, p - v};
    p = skip_ws(p, e); if (p >= e || *p != ',') break;
  }
  return (Str){0};
}
static int is(Str s, const char *lit) { size_t n = strlen(lit); return s.n == n + 2 && s.p[0] == '"' && !memcmp(s.p + 1, lit, n); }

/* ---- MCP ---- */
static void result(Conn *c, const char *body, const char *extra_hdr) {
  static char *b; static size_t cap; size_t need = strlen(body) + 400;
  if (need > cap) b = realloc(b, cap = need * 2);
  int n = sprintf(b, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{%s%s}}", c->id, c->modern ? "\"resultType\":\"complete\"," : "", body);
  respond(c, 200, extra_hdr, "application/json", b, n);
}
#define SCHEMA(props) "\"inputSchema\":{\"type\":\"object\",\"properties\":{" props "}}"
static char *tools; static int legacy_only;
static const char TOOLS[] = "\"tools\":["
  "{\"name\":\"echo\",\"description\":\"Echo the text\"," SCHEMA("\"text\":{\"type\":\"string\"}") "},"
  "{\"name\":\"blob\",\"description\":\"100 KiB of text\"," SCHEMA("") "},"
  "{\"name\":\"sleep\",\"description\":\"Sleep ms\"," SCHEMA("\"ms\":{\"type\":\"integer\"}") "}";
static void make_tools(int n) {              /* the three, and fillers of a usual size up to n */
  char *p = tools = malloc(sizeof TOOLS + 400 * (size_t)(n > 3 ? n : 3));
  p += sprintf(p, "%s", TOOLS);
  for (int i = 3; i < n; i++) p += sprintf(p, ",{\"name\":\"filler_%03d\",\"description\":\"Reads one record of the fictitious "
      "table %d and returns its fields as text\"," SCHEMA("\"id\":{\"type\":\"string\",\"description\":\"Which record\"},\"limit\":{\"type\":\"integer\",\"minimum\":1}") "}", i, i);
  strcpy(p, "]");
}
#define CAPS "\"capabilities\":{\"tools\":{\"listChanged\":false}}"
#define INFO "{\"name\":\"bench-upstream\",\"version\":\"1.0\"}"

static void schedule(Conn *c, long long delay_ns) { c->busy = 1; c->due = now_ns() + delay_ns; hpush(c); }

static void mcp(Conn *c, Str body, int modern_hdr) {
  Str id = get(body, "id"), method = get(body, "method"), params = get(body, "params");
  char b[1024];
  if (legacy_only && (modern_hdr || is(method, "server/discover"))) {
    st.other++;
    int n = sprintf(b, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"Bad Request: Unsupported protocol version\"}}");
    respond(c, 400, "", "application/json", b, n); return;
  }
  if (!id.n) { st.notify++; respond(c, 202, "", "", "", 0); return; }
  if (id.n >= sizeof c->id) id = (Str){"null", 4};
  memcpy(c->id, id.p, id.n); c->id[id.n] = 0; c->modern = modern_hdr;
  const char *cache = c->modern ? ",\"ttlMs\":60000,\"cacheScope\":\"public\"" : "";
  if (is(method, "tools/call")) {
    st.call++;
    Str name = get(params, "name"), args = get(params, "arguments");
    if (is(name, "blob")) result(c, blob, "");
    else if (is(name, "sleep")) { Str ms = get(args, "ms"); schedule(c, (ms.n ? atol(ms.p) : 0) * 1000000LL); }
    else if (is(name, "echo")) {
      Str t = get(args, "text"); char *r = malloc(t.n + 128);
      sprintf(r, "\"content\":[{\"type\":\"text\",\"text\":%.*s}],\"isError\":false", t.n ? (int)t.n : 2, t.n ? t.p : "\"\"");
      result(c, r, ""); free(r);
    } else {
      int n = snprintf(b, sizeof b, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-32602,\"message\":\"Unknown tool: %.*s\"}}", c->id, name.n > 200 ? 200 : (int)(name.n ? name.n - 2 : 0), name.n ? name.p + 1 : "");
      respond_json(c, b, n);
    }
  } else if (is(method, "initialize")) {
    static long sid; st.initialize++; Str v = get(params, "protocolVersion"); char h[64];
    if (v.n < 5 || v.n > 20 || memcmp(v.p, "\"2026", 5) >= 0) v = (Str){"\"2025-11-25\"", 12};
    snprintf(b, sizeof b, "\"protocolVersion\":%.*s," CAPS ",\"serverInfo\":" INFO, (int)v.n, v.p);
    snprintf(h, sizeof h, "Mcp-Session-Id: bench-%08ld\r\n", ++sid); c->modern = 0; result(c, b, h);
  } else if (is(method, "server/discover")) {
    st.discover++; c->modern = 1;
    result(c, "\"supportedVersions\":[\"2026-07-28\"]," CAPS ",\"ttlMs\":60000,\"cacheScope\":\"public\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":" INFO "}", "");
  } else if (is(method, "tools/list")) { st.list++; char *r = malloc(strlen(tools) + 64); sprintf(r, "%s%s", tools, cache); result(c, r, ""); free(r); }
  else if (is(method, "ping")) { st.other++; result(c, "\"_meta\":{}", ""); }
  else if (is(method, "prompts/list") || is(method, "resources/list") || is(method, "resources/templates/list")) {
    st.other++; const char *k = is(method, "prompts/list") ? "prompts" : is(method, "resources/list") ? "resources" : "resourceTemplates";
    snprintf(b, sizeof b, "\"%s\":[]%s", k, cache); result(c, b, "");
  } else {
    st.other++;
    int n = snprintf(b, sizeof b, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}", c->id);
    respond(c, modern_hdr ? 404 : 200, "", "application/json", b, n);
  }
}

/* ---- LLM ---- */
#define SSE_HEAD "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"%s\",\"choices\":[%s]%s}"
static void sse(Conn *c, const char *data, int n) { char h[16]; put(c, h, sprintf(h, "%x\r\n", n + 8)); put(c, "data: ", 6); put(c, data, n); put(c, "\n\n\r\n", 4); }
static int chunk_step(Conn *c) {             /* sends one chunk, its own write */
  char b[512], ch[160]; int n;
  if (c->left > 0) {
    sprintf(ch, "{\"index\":0,\"delta\":{\"content\":\"t=%lld \"},\"finish_reason\":null}", now_ns());
    n = sprintf(b, SSE_HEAD, c->who, c->id, ch, ""); sse(c, b, n);
  } else {
    n = sprintf(b, SSE_HEAD, c->who, c->id, "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}", ""); sse(c, b, n);
    n = sprintf(b, SSE_HEAD, c->who, c->id, "", ",\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":200,\"total_tokens\":220}"); sse(c, b, n);
    sse(c, "[DONE]", 6); put(c, "0\r\n\r\n", 5);
  }
  return flush_out(c);
}
static int process(Conn *c);
static int fire(Conn *c) {                   /* a timer is due */
  if (c->left < 0) { c->busy = 0; result(c, "\"content\":[{\"type\":\"text\",\"text\":\"slept\"}],\"isError\":false", ""); return flush_out(c) || process(c); }
  do { if (chunk_step(c)) return -1; } while (c->left-- > 0 && !c->gap);
  if (c->left >= 0) { c->due += c->gap; hpush(c); return 0; }
  c->busy = 0; return process(c);
}
static void llm(Conn *c, Str body) {
  st.llm++;
  Str model = get(body, "model"), stream = get(body, "stream"), user = get(body, "user"); char b[1024]; int chunks = 200, n; long us = 0;
  snprintf(c->who, sizeof c->who, "%.*s", user.n > 20 || user.n < 3 ? 5 : (int)user.n - 2, user.n > 20 || user.n < 3 ? "bench" : user.p + 1);
  snprintf(c->id, sizeof c->id, "%.*s", model.n > 62 ? 60 : model.n ? (int)model.n - 2 : 0, model.n ? model.p + 1 : "");
  char *slash = strrchr(c->id, '/'); sscanf(slash ? slash + 1 : c->id, "fake-%dx%ld", &chunks, &us);
  if (strstr(c->id, "fail-")) {
    n = sprintf(b, "{\"error\":{\"message\":\"made to fail\",\"type\":\"server_error\",\"code\":null}}");
    respond(c, atoi(strstr(c->id, "fail-") + 5), "", "application/json", b, n); return;
  }
  if (stream.n == 4 && !memcmp(stream.p, "true", 4)) {
    const char h[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    put(c, h, sizeof h - 1); c->left = chunks; c->gap = us * 1000; schedule(c, c->gap); return;
  }
  n = sprintf(b, "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":"
      "{\"role\":\"assistant\",\"content\":\"Hello from the benchmark upstream. It answers at once.\"},\"finish_reason\":\"stop\"}],"
      "\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":12,\"total_tokens\":32}}", c->who, c->id);
  respond_json(c, b, n);
}

/* ---- HTTP ---- */
static char *header(char *h, char *e, const char *name) {   /* value of a header, or 0 */
  size_t n = strlen(name);
  for (char *p = h; (p = memchr(p, '\n', e - p)); ) if (e - ++p > (long)n && !strncasecmp(p, name, n) && p[n] == ':') return (char *)skip_ws(p + n + 1, e);
  return 0;
}
static int process(Conn *c) {                /* handle every complete request in c->in */
  while (!c->busy && c->inlen) {
    char *he = memmem(c->in, c->inlen, "\r\n\r\n", 4); if (!he) break;
    char *b = he + 4, *end = c->in + c->inlen, *v; size_t total, n = 0; Str body;
    if ((v = header(c->in, he, "content-length"))) { n = atol(v); total = b - c->in + n; if (total > c->inlen) break; body = (Str){b, n}; }
    else if ((v = header(c->in, he, "transfer-encoding")) && !strncasecmp(v, "chunked", 7)) {
      char *p = b, *w = b; int done = 0;     /* check that it is whole, then join the chunks in place */
      for (int pass = 0; pass < 2; pass++) for (p = b, done = 0; !done; ) {
        char *nl = memmem(p, end - p, "\r\n", 2); if (!nl) goto wait;
        size_t k = strtoul(p, 0, 16); if ((size_t)(end - nl) < k + 4) goto wait;
        if (pass) { memmove(w, nl + 2, k); w += k; }
        p = nl + 2 + k + 2; done = !k;
      }
      total = p - c->in; body = (Str){b, w - b};
    } else { total = b - c->in; body = (Str){b, 0}; }
    st.bytes_in += total;
    if (!strncmp(c->in, "POST ", 5)) {
      st.posts++; c->left = -1;
      char *sp = memchr(c->in + 5, ' ', he - c->in - 5);
      if (sp && memmem(c->in, sp - c->in, "chat/completions", 16)) llm(c, body);
      else { v = header(c->in, he, "mcp-protocol-version"); mcp(c, body, v && strncmp(v, "2026", 4) >= 0); }
    } else if (!strncmp(c->in, "GET /stats", 10)) {
      char s[512]; int k = sprintf(s, "{\"conns\":%ld,\"posts\":%ld,\"gets\":%ld,\"deletes\":%ld,\"initialize\":%ld,\"discover\":%ld,\"tools_list\":%ld,\"tools_call\":%ld,\"notifications\":%ld,\"other\":%ld,\"llm\":%ld,\"bytes_in\":%ld}",
          st.conns, st.posts, st.gets, st.deletes, st.initialize, st.discover, st.list, st.call, st.notify, st.other, st.llm, st.bytes_in);
      respond_json(c, s, k);
    } else if (!strncmp(c->in, "GET /health", 11)) respond_json(c, "{\"status\":\"ok\"}", 15);
    else if (!strncmp(c->in, "GET /v1/models", 14)) { const char m[] = "{\"object\":\"list\",\"data\":[{\"id\":\"fake-200x0\",\"object\":\"model\",\"created\":1790000000,\"owned_by\":\"bench\"}]}"; respond_json(c, m, sizeof m - 1); }
    else if (!strncmp(c->in, "DELETE", 6)) { st.deletes++; respond(c, 200, "", "", "", 0); }
    else { st.gets++; respond(c, 405, "Allow: POST, DELETE\r\n", "", "", 0); }
    c->inlen -= total; memmove(c->in, c->in + total, c->inlen);
  }
wait:
  return flush_out(c);
}
static void drop(Conn *c) { hdel(c); close(c->fd); free(c->in); free(c->out); free(c); }

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  make_tools(argc > 2 ? atoi(argv[2]) : 3); legacy_only = argc > 3 && !strcmp(argv[3], "legacy");
  int port = argc > 1 ? atoi(argv[1]) : 9100, one = 1, ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (bind(ls, (void *)&a, sizeof a) || listen(ls, 1024)) { perror("bind"); return 1; }
  blob = malloc(110000); strcpy(blob, "\"content\":[{\"type\":\"text\",\"text\":\"");
  size_t n = strlen(blob); for (int i = 0; i < 102400; i++) blob[n + i] = i % 64 == 63 ? ' ' : 'a' + i % 26;
  strcpy(blob + n + 102400, "\"}],\"isError\":false");
  ep = epoll_create1(0); struct epoll_event e = {EPOLLIN, {.ptr = 0}}, ev[256]; epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    struct timespec ts, *tp = 0; Conn *dead[256]; int nd = 0;
    if (hn) { long long w = heap[0]->due - now_ns(); if (w < 0) w = 0; ts = (struct timespec){w / 1000000000, w % 1000000000}; tp = &ts; }
    int k = epoll_pwait2(ep, ev, 256, tp, 0);
    for (int i = 0; i < k; i++) {
      Conn *c = ev[i].data.ptr;
      if (!c) {
        for (int fd; (fd = accept4(ls, 0, 0, SOCK_NONBLOCK)) >= 0; ) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); st.conns++;
          c = calloc(1, sizeof *c); c->fd = fd; c->heap = -1; c->in = malloc(c->incap = 8192);
          struct epoll_event x = {EPOLLIN, {.ptr = c}}; epoll_ctl(ep, EPOLL_CTL_ADD, fd, &x);
        }
        continue;
      }
      int bad = 0;
      if (ev[i].events & EPOLLOUT) { struct epoll_event x = {EPOLLIN, {.ptr = c}}; epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &x); bad = flush_out(c); }
      if (!bad && ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (c->incap - c->inlen < 4096) c->in = realloc(c->in, c->incap *= 2);
        ssize_t r = recv(c->fd, c->in + c->inlen, c->incap - c->inlen, 0);
        if (r > 0) { c->inlen += r; bad = process(c); } else if (r == 0 || errno != EAGAIN) bad = 1;
      }
      if (bad) dead[nd++] = c;
    }
    for (int i = 0; i < nd; i++) drop(dead[i]);
    long long t = now_ns();
    while (hn && heap[0]->due <= t) { Conn *c = heap[0]; hdel(c); if (fire(c)) drop(c); }
  }
}
