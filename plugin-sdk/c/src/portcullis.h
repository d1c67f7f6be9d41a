// Policies for the gateway Portcullis in C and C++.
//
// A policy defines the hooks that it needs with the macros below, and asks the gateway with the functions of `pc.h`, which
// are those of the contract: `pc_request_header` is `header` of the interface `request`. What stands here makes the
// frequent ones shorter.
//
// All memory that the gateway gives (texts, lists, bytes) belongs to the hook that asked: it is valid until the hook
// returns and need not be freed. What is asked for in PC_CONFIGURE stays for as long as the policy. Do not call the
// `..._free` functions of `pc.h`.
#ifndef PORTCULLIS_H
#define PORTCULLIS_H

#include "pc.h"

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PC_CONTRACT "{{contract}}"

// Why a hook failed, as text that ends in a zero; PC_OK if it did not. A failure is logged as the policy's fault, and
// `on-error` of the policy decides whether the exchange goes on.
typedef const char *pc_failure;
#define PC_OK ((pc_failure)0)

// Returns from the hook with a failure if the call had one: PC_TRY(pc_set_request_header("x-a", "b"));
#define PC_TRY(call)                                                                                                   \
  do {                                                                                                                 \
    pc_failure pc_failed_ = (call);                                                                                    \
    if (pc_failed_) return pc_failed_;                                                                                 \
  } while (0)

// The hooks: PC_ON_REQUEST_HEAD { ...; return PC_OK; }
#define PC_ON_REQUEST_HEAD PC_HOOK_("request-head", "on-request-head", request_head)
#define PC_ON_REQUEST_BODY PC_HOOK_("request-body", "on-request-body", request_body)
#define PC_ON_RESPONSE_HEAD PC_HOOK_("response-head", "on-response-head", response_head)
#define PC_ON_RESPONSE_BODY PC_HOOK_("response-body", "on-response-body", response_body)
#define PC_ON_COMPLETED PC_HOOK_("completed", "on-completed", completed)
#define PC_ON_TICK PC_HOOK_("tick", "on-tick", tick)

// The start of the policy's life: PC_CONFIGURE(settings) { ...; return PC_OK; }. The settings are JSON that satisfies the
// schema in manifest.json, a pc_string_t.
#define PC_CONFIGURE(settings)                                                                                         \
  static pc_failure pc_configure_(pc_string_t settings);                                                               \
  __attribute__((export_name("portcullis:policy/lifecycle@" PC_CONTRACT "#configure"))) void *pc_export_configure_(    \
      uint8_t *text, size_t size) {                                                                                    \
    pc_string_t given;                                                                                                 \
    given.ptr = text;                                                                                                  \
    given.len = size;                                                                                                  \
    return pc_configured_(pc_configure_(given));                                                                       \
  }                                                                                                                    \
  static pc_failure pc_configure_(pc_string_t settings)

#define PC_HOOK_(interface, name, function)                                                                            \
  static pc_failure pc_hook_##function##_(void);                                                                       \
  __attribute__((export_name("portcullis:policy/" interface "@" PC_CONTRACT "#" name))) void                           \
      *pc_export_##function##_(void) {                                                                                 \
    pc_begin_();                                                                                                       \
    return pc_end_(pc_hook_##function##_());                                                                           \
  }                                                                                                                    \
  static pc_failure pc_hook_##function##_(void)

void pc_begin_(void);
void *pc_end_(pc_failure failure);
void *pc_configured_(pc_failure failure);

// A text for the functions of the contract. It is not copied.
static inline pc_string_t pc_string(const char *text) {
  pc_string_t string;
  string.ptr = (uint8_t *)text;
  string.len = strlen(text);
  return string;
}

// The same as bytes.
static inline pc_list_u8_t pc_bytes(const void *bytes, size_t size) {
  pc_list_u8_t list;
  list.ptr = (uint8_t *)bytes;
  list.len = size;
  return list;
}

static inline bool pc_equal(pc_string_t a, const char *b) {
  return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0;
}

static inline bool pc_same(pc_string_t a, pc_string_t b) {
  return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

// Memory that is valid until the hook returns (in PC_CONFIGURE: for as long as the policy), of any alignment.
void *pc_alloc(size_t size);
// The text with a zero at its end, for functions of C.
char *pc_text(pc_string_t string);
// Texts one after the other; the last argument is NULL: pc_join("no such tenant: ", name, NULL).
char *pc_join(const char *first, ...);
// What an edit was refused with, as a failure.
pc_failure pc_refused(const pc_types_refused_t *refused);

// Fields. The value of all lines of a field, joined; false if there is no such field.
bool pc_get_request_header(const char *name, pc_string_t *value);
bool pc_get_response_header(const char *name, pc_string_t *value);
// Replaces, adds and removes lines of a field.
pc_failure pc_set_request_header(const char *name, pc_string_t value);
pc_failure pc_add_request_header(const char *name, pc_string_t value);
pc_failure pc_drop_request_header(const char *name);
pc_failure pc_set_response_header(const char *name, pc_string_t value);
pc_failure pc_add_response_header(const char *name, pc_string_t value);
pc_failure pc_drop_response_header(const char *name);

// Answers the client with a text in place of going on: return pc_reply(403, "not today\n");
pc_failure pc_reply(uint16_t status, const char *text);
// Named text for later policies and the access log.
pc_failure pc_set_attribute(const char *name, pc_string_t value);
// All bytes of the body that are at hand.
pc_list_u8_t pc_body(void);
// Lets these bytes go on in place of all that are at hand.
pc_failure pc_replace_body(pc_list_u8_t bytes);
// Keeps all of the body, and has the hook called again at its end.
pc_failure pc_collect_body(void);
// Writes a line to the log. The capability is `log`.
void pc_log(pc_log_level_t level, const char *message);

// JSON, for settings and bodies. A value is a part of the text that it was found in.
//
// The member of an object, as it is written; false if there is none, or `object` is none.
bool pc_json_member(pc_string_t object, const char *name, pc_string_t *value);
// The members of an object, one after the other: for (size_t at = 0; pc_json_next(object, &at, &name, &value);) ...
// The name is decoded. Of an array `name` is empty.
bool pc_json_next(pc_string_t json, size_t *at, pc_string_t *name, pc_string_t *value);
// The text of a string, decoded; false if it is no string.
bool pc_json_string(pc_string_t json, pc_string_t *text);
// A whole number; false if it is none.
bool pc_json_integer(pc_string_t json, int64_t *number);
// The text as a JSON string, with its quotes.
pc_string_t pc_json_quoted(pc_string_t text);

#ifdef __cplusplus
}
#endif
#endif
