/* A gRPC load generator that rotates its requests, which h2load cannot: it sends one body for ever.
 *
 *   grpc_load HOST PORT PATH BODIES CALLERS CONNECTIONS SECONDS PAUSE_US LEAST MOST
 *
 * BODIES is a file of length-prefixed gRPC messages, sent one after the other and over again. Each of the CALLERS, spread
 * over CONNECTIONS, has one call under way at a time; after each it waits between 0 and twice PAUSE_US. An answer is right when
 * its HTTP status is 200, its grpc-status 0 and its body between LEAST and MOST bytes long. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 1 << 30, CHUNK = 1 << 18 };

struct body {
    const uint8_t *bytes;
    size_t length;
};

struct connection;

struct caller {
    struct connection *connection;
    const struct body *body;
    size_t sent, received;
    int http_ok, grpc_ok, busy;
    uint64_t began, due;
};

struct connection {
    int fd;
    nghttp2_session *session;
    const uint8_t *unsent;
    size_t left;
    int wants_write;
};

static struct body *bodies;
static size_t body_count, next_body;
static struct caller *callers;
static int caller_count, connection_count, poller;
static const char *authority, *path;
static uint64_t pause_us, started, ends, last_answer;
static size_t least, most, smallest = SIZE_MAX, largest, done_count, wrong, bytes;
static uint32_t *latencies;
static size_t latency_room;

static void fail(const char *what) {
    fprintf(stderr, "grpc_load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void *allocated(void *memory) {
    if (memory == NULL) fail("memory");
    return memory;
}

static uint64_t now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static void read_bodies(const char *name) {
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail(name);
    size_t size = (size_t)ftell(file), at = 0, room = 0;
    rewind(file);
    uint8_t *all = allocated(malloc(size));
    if (fread(all, 1, size, file) != size) fail(name);
    fclose(file);
    while (at + 5 <= size) {
        size_t length = 5 + ((size_t)all[at + 1] << 24 | (size_t)all[at + 2] << 16 | (size_t)all[at + 3] << 8 | all[at + 4]);
        if (body_count == room) bodies = allocated(realloc(bodies, (room = room ? room * 2 : 1024) * sizeof *bodies));
        bodies[body_count++] = (struct body){all + at, length};
        at += length;
    }
    if (body_count == 0 || at != size) {
        fprintf(stderr, "grpc_load: %s holds no whole messages\n", name);
        exit(2);
    }
}

static ssize_t send_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t room, uint32_t *flags,
                               nghttp2_data_source *source, void *unused) {
    (void)session, (void)stream, (void)unused;
    struct caller *caller = source->ptr;
    size_t length = caller->body->length - caller->sent;
    if (length > room) length = room;
    memcpy(buffer, caller->body->bytes + caller->sent, length);
    caller->sent += length;
    if (caller->sent == caller->body->length) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)length;
}

#define FIELD(name, value) {(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value), NGHTTP2_NV_FLAG_NONE}

static void call(struct caller *caller, uint64_t now) {
    nghttp2_nv fields[] = {FIELD(":method", "POST"),       FIELD(":scheme", "http"), FIELD(":authority", authority),
                           FIELD(":path", path),           FIELD("te", "trailers"),  FIELD("content-type", "application/grpc"),
                           FIELD("user-agent", "grpc-load")};
    nghttp2_data_provider source = {.source.ptr = caller, .read_callback = send_body};
    caller->body = &bodies[next_body++ % body_count];
    caller->sent = caller->received = 0;
    caller->http_ok = caller->grpc_ok = 0;
    caller->busy = 1;
    caller->began = now;
    if (nghttp2_submit_request(caller->connection->session, NULL, fields, sizeof fields / sizeof *fields, &source, caller) < 0)
        fail("submit");
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t length, uint8_t flags, void *unused) {
    (void)flags, (void)unused;
    struct caller *caller = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (caller == NULL) return 0;
    if (name_length == 7 && memcmp(name, ":status", 7) == 0) caller->http_ok = length == 3 && memcmp(value, "200", 3) == 0;
    if (name_length == 11 && memcmp(name, "grpc-status", 11) == 0) caller->grpc_ok = length == 1 && *value == '0';
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t length, void *unused) {
    (void)flags, (void)data, (void)unused;
    struct caller *caller = nghttp2_session_get_stream_user_data(session, stream);
    if (caller != NULL) caller->received += length;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *unused) {
    (void)unused;
    struct caller *caller = nghttp2_session_get_stream_user_data(session, stream);
    if (caller == NULL) return 0;
    uint64_t now = last_answer = now_us();
    if (done_count == latency_room)
        latencies = allocated(realloc(latencies, (latency_room = latency_room ? latency_room * 2 : 65536) * sizeof *latencies));
    latencies[done_count++] = (uint32_t)(now - caller->began);
    bytes += caller->received;
    if (caller->received < smallest) smallest = caller->received;
    if (caller->received > largest) largest = caller->received;
    if (error || !caller->http_ok || !caller->grpc_ok || caller->received < least || caller->received > most) wrong++;
    caller->busy = 0;
    caller->due = pause_us ? now + (uint64_t)((double)random() / RAND_MAX * 2.0 * (double)pause_us) : now;
    if (!pause_us && now < ends) call(caller, now);
    return 0;
}

static struct connection *connect_to(const char *host, const char *port) {
    struct connection *made = allocated(calloc(1, sizeof *made));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int on = 1;
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) fail(host);
    made->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(made->fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
    if (setsockopt(made->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("nodelay");
    if (fcntl(made->fd, F_SETFL, O_NONBLOCK) != 0) fail("nonblocking");
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) fail("session");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    if (nghttp2_session_client_new(&made->session, callbacks, made) != 0) fail("session");
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(made->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(made->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = made};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, made->fd, &event) != 0) fail("epoll");
    return made;
}

/* Writes what the session has to say, as much as the socket takes. */
static void flush(struct connection *connection) {
    int blocked = 0;
    static uint8_t gathered[CHUNK];
    while (!blocked) {
        if (connection->left == 0) {
            size_t length = 0;
            const uint8_t *piece;
            ssize_t size;
            while (length < CHUNK / 2 && (size = nghttp2_session_mem_send(connection->session, &piece)) > 0) {
                memcpy(gathered + length, piece, (size_t)size);
                length += (size_t)size;
            }
            if (length == 0) break;
            ssize_t written = send(connection->fd, gathered, length, MSG_NOSIGNAL);
            if (written < 0 && errno != EAGAIN) fail("send");
            if (written < 0) written = 0;
            if ((size_t)written < length) {
                connection->left = length - (size_t)written;
                uint8_t *kept = allocated(malloc(connection->left));
                memcpy(kept, gathered + written, connection->left);
                connection->unsent = kept;
                blocked = 1;
            }
        } else {
            ssize_t written = send(connection->fd, connection->unsent, connection->left, MSG_NOSIGNAL);
            if (written < 0 && errno != EAGAIN) fail("send");
            size_t sent = written < 0 ? 0 : (size_t)written;
            uint8_t *rest = NULL;
            if (sent < connection->left) {
                rest = allocated(malloc(connection->left - sent));
                memcpy(rest, connection->unsent + sent, connection->left - sent);
                blocked = 1;
            }
            free((void *)connection->unsent);
            connection->unsent = rest;
            connection->left -= sent;
        }
    }
    if (blocked != connection->wants_write) {
        struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = connection};
        if (epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event) != 0) fail("epoll");
        connection->wants_write = blocked;
    }
}

static void receive(struct connection *connection) {
    static uint8_t buffer[CHUNK];
    ssize_t length = recv(connection->fd, buffer, sizeof buffer, 0);
    if (length == 0) errno = ECONNRESET;
    if (length == 0 || (length < 0 && errno != EAGAIN)) fail("receive");
    if (length > 0 && nghttp2_session_mem_recv(connection->session, buffer, (size_t)length) < 0) fail("HTTP/2");
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double percentile(double share) {
    return done_count ? latencies[(size_t)((double)(done_count - 1) * share)] / 1000.0 : 0.0;
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: %s HOST PORT PATH BODIES CALLERS CONNECTIONS SECONDS PAUSE_US LEAST MOST\n", argv[0]);
        return 2;
    }
    authority = argv[1], path = argv[3];
    read_bodies(argv[4]);
    caller_count = atoi(argv[5]), connection_count = atoi(argv[6]);
    pause_us = (uint64_t)atoll(argv[8]), least = (size_t)atoll(argv[9]), most = (size_t)atoll(argv[10]);
    poller = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event rings = {.events = EPOLLIN, .data.ptr = NULL};
    if (timer < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &rings) != 0) fail("timer");
    struct connection **connections = allocated(calloc((size_t)connection_count, sizeof *connections));
    for (int i = 0; i < connection_count; i++) connections[i] = connect_to(argv[1], argv[2]);
    callers = allocated(calloc((size_t)caller_count, sizeof *callers));
    started = now_us(), ends = started + (uint64_t)(atof(argv[7]) * 1e6);
    for (int i = 0; i < caller_count; i++) {
        callers[i].connection = connections[i % connection_count];
        callers[i].due = started + (pause_us ? (uint64_t)((double)random() / RAND_MAX * 2.0 * (double)pause_us) : 0);
    }
    uint64_t now;
    int under_way = 1;
    struct epoll_event events[64];
    while ((now = now_us()) < ends || under_way) {
        uint64_t wait_us = 100000;
        under_way = 0;
        for (int i = 0; i < caller_count; i++) {
            if (!callers[i].busy && callers[i].due <= now && now < ends) call(&callers[i], now);
            if (!callers[i].busy && now < ends && callers[i].due - now < wait_us) wait_us = callers[i].due - now;
            under_way += callers[i].busy;
        }
        if (now > ends + 10000000) break; /* whoever has not answered by now is reported as wrong */
        for (int i = 0; i < connection_count; i++) flush(connections[i]);
        /* epoll's own time-out has milliseconds: to wait for none of them would take a processor from who is measured. */
        struct itimerspec until = {.it_value = {.tv_sec = 0, .tv_nsec = (long)wait_us * 1000 + 1}};
        if (timerfd_settime(timer, 0, &until, NULL) != 0) fail("timer");
        int ready = epoll_wait(poller, events, 64, -1);
        if (ready < 0 && errno != EINTR) fail("epoll");
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr == NULL) {
                uint64_t rung;
                if (read(timer, &rung, sizeof rung) < 0 && errno != EAGAIN) fail("timer");
            } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(events[i].data.ptr);
    }
    double seconds = (double)(last_answer - started) / 1e6;
    qsort(latencies, done_count, sizeof *latencies, by_size);
    printf("{\"requests\": %zu, \"seconds\": %.6f, \"wrong\": %zu, \"bytes\": %zu, \"least\": %zu, \"most\": %zu, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
           done_count, seconds, wrong + (size_t)under_way, bytes, smallest == SIZE_MAX ? 0 : smallest, largest, percentile(0.5),
           percentile(0.99), percentile(1.0));
    return 0;
}
