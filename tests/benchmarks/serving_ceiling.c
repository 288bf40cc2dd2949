/* The least that HTTP costs on a machine: whatever comes in one piece gets the same answer.
 *
 * One thread, epoll, no parsing, no model; the answer has the headers and the length of penstock's.
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char body[] =
    "{\"model_name\":\"m\",\"model_version\":\"0123456789abcdef\",\"outputs\":[{\"name\":\"score\","
    "\"datatype\":\"FP64\",\"shape\":[1],\"data\":[0.12345678901234567]}]}";
static const char head[] =
    "HTTP/1.1 200 OK\r\nx-request-id: 00112233445566778899aabbccddeeff\r\n"
    "traceparent: 00-00112233445566778899aabbccddeeff-0011223344556677-00\r\n"
    "content-type: application/json\r\ncontent-length: %zu\r\nx-model-name: m\r\n"
    "x-model-version: 0123456789abcdef\r\nx-model-revision: 1\r\n\r\n%s";

static void follow(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

static void take_all(int poll, int listener)
{
    const int on = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; follow(poll, fd))
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int main(int argc, char **argv)
{
    static char in[1 << 18];
    char answer[1024];
    const int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int poll = epoll_create1(0);
    const size_t size = (size_t)snprintf(answer, sizeof answer, head, sizeof body - 1, body);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[1024];
    at.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1024))
        return 1;
    follow(poll, listener);
    for (;;) {
        const int count = epoll_wait(poll, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;
            if (fd == listener)
                take_all(poll, listener);
            else if (read(fd, in, sizeof in) <= 0 || write(fd, answer, size) < 0)
                close(fd);
        }
    }
}
