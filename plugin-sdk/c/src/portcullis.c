// What the macros and functions of `portcullis.h` do. It needs no allocator of the C library.
#include "portcullis.h"

#include <stdarg.h>

// Memory of a hook: pieces of linear memory, used from the front. The next hook begins where PC_CONFIGURE has ended.
typedef struct pc_piece {
  struct pc_piece *next;
  size_t size;
} pc_piece;

#define PC_PAGE 65536u

static pc_piece *pc_first, *pc_now, *pc_mark;
static size_t pc_used, pc_mark_used;

static size_t pc_up(size_t number, size_t align) { return (number + align - 1) & ~(align - 1); }

// A piece for at least `size` bytes behind its head.
static pc_piece *pc_more(size_t size) {
  size_t pages = pc_up(sizeof(pc_piece) + size, PC_PAGE) / PC_PAGE;
  size_t before = __builtin_wasm_memory_grow(0, pages);
  if (before == (size_t)-1) __builtin_trap();
  pc_piece *piece = (pc_piece *)(before * PC_PAGE);
  piece->next = 0;
  piece->size = pages * PC_PAGE;
  return piece;
}

static void *pc_take(size_t size, size_t align) {
  if (size > SIZE_MAX / 2) __builtin_trap();
  if (!pc_first) {
    pc_first = pc_now = pc_mark = pc_more(size + align);
    pc_used = pc_mark_used = sizeof(pc_piece);
  }
  for (;;) {
    size_t start = pc_up((size_t)pc_now + pc_used, align) - (size_t)pc_now;
    if (start <= pc_now->size && size <= pc_now->size - start) {
      pc_used = start + size;
      return (uint8_t *)pc_now + start;
    }
    // A piece that is too small for this one is passed over until the next hook.
    if (!pc_now->next) pc_now->next = pc_more(size + align);
    pc_now = pc_now->next;
    pc_used = sizeof(pc_piece);
  }
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (size == 0) return (void *)align;
  void *memory = pc_take(size, align);
  if (old_size) memcpy(memory, old, old_size < size ? old_size : size);
  return memory;
}

void pc_begin_(void) {
  pc_now = pc_mark;
  pc_used = pc_mark_used;
}

void *pc_end_(pc_failure failure) {
  static struct {
    uint8_t is_error;
    const char *text;
    size_t size;
  } result;
  result.is_error = failure != PC_OK;
  result.text = failure;
  result.size = failure ? strlen(failure) : 0;
  return &result;
}

void *pc_configured_(pc_failure failure) {
  pc_mark = pc_now;
  pc_mark_used = pc_used;
  return pc_end_(failure);
}

void *pc_alloc(size_t size) { return pc_take(size, 16); }

char *pc_text(pc_string_t string) {
  char *text = (char *)pc_take(string.len + 1, 1);
  memcpy(text, string.ptr, string.len);
  text[string.len] = 0;
  return text;
}

char *pc_join(const char *first, ...) {
  va_list texts;
  size_t size = 1;
  va_start(texts, first);
  for (const char *text = first; text; text = va_arg(texts, const char *)) size += strlen(text);
  va_end(texts);
  char *joined = (char *)pc_take(size, 1), *end = joined;
  va_start(texts, first);
  for (const char *text = first; text; text = va_arg(texts, const char *)) {
    size_t length = strlen(text);
    memcpy(end, text, length);
    end += length;
  }
  va_end(texts);
  *end = 0;
  return joined;
}

pc_failure pc_refused(const pc_types_refused_t *refused) {
  switch (refused->tag) {
  case PC_TYPES_REFUSED_INVALID_NAME: return "the gateway refused an edit: the name is not a valid one";
  case PC_TYPES_REFUSED_INVALID_VALUE: return "the gateway refused an edit: the value is not a valid one";
  case PC_TYPES_REFUSED_FORBIDDEN: return "the gateway refused an edit: the gateway alone writes this field";
  case PC_TYPES_REFUSED_READ_ONLY: return "the gateway refused an edit: it is too late, or not for this hook";
  case PC_TYPES_REFUSED_TOO_LARGE: return "the gateway refused an edit: it is too large";
  default: return pc_join("the gateway refused an edit: ", pc_text(refused->val.other), (char *)0);
  }
}

static pc_failure pc_done(bool done, const pc_types_refused_t *refused) { return done ? PC_OK : pc_refused(refused); }

bool pc_get_request_header(const char *name, pc_string_t *value) {
  pc_string_t field = pc_string(name);
  return pc_request_header(&field, value);
}

bool pc_get_response_header(const char *name, pc_string_t *value) {
  pc_string_t field = pc_string(name);
  return pc_response_header(&field, value);
}

#define PC_EDIT_(function, call)                                                                                       \
  pc_failure function(const char *name, pc_string_t value) {                                                           \
    pc_string_t field = pc_string(name);                                                                               \
    pc_types_refused_t refused;                                                                                        \
    return pc_done(call(&field, &value, &refused), &refused);                                                          \
  }
#define PC_DROP_(function, call)                                                                                       \
  pc_failure function(const char *name) {                                                                              \
    pc_string_t field = pc_string(name);                                                                               \
    pc_types_refused_t refused;                                                                                        \
    return pc_done(call(&field, &refused), &refused);                                                                  \
  }

PC_EDIT_(pc_set_request_header, pc_request_set_header)
PC_EDIT_(pc_add_request_header, pc_request_append_header)
PC_DROP_(pc_drop_request_header, pc_request_remove_header)
PC_EDIT_(pc_set_response_header, pc_response_set_header)
PC_EDIT_(pc_add_response_header, pc_response_append_header)
PC_DROP_(pc_drop_response_header, pc_response_remove_header)
PC_EDIT_(pc_set_attribute, pc_exchange_set_attribute)

pc_failure pc_reply(uint16_t status, const char *text) {
  pc_types_field_t type;
  type.f0 = pc_string("content-type");
  type.f1 = pc_string("text/plain; charset=utf-8");
  pc_exchange_list_field_t fields;
  fields.ptr = &type;
  fields.len = 1;
  pc_list_u8_t body = pc_bytes(text, strlen(text));
  pc_types_refused_t refused;
  return pc_done(pc_exchange_reply(status, &fields, &body, &refused), &refused);
}

pc_list_u8_t pc_body(void) {
  pc_list_u8_t bytes;
  pc_body_read(0, pc_body_size(), &bytes);
  return bytes;
}

pc_failure pc_replace_body(pc_list_u8_t bytes) {
  pc_types_refused_t refused;
  return pc_done(pc_body_replace(pc_body_size(), &bytes, &refused), &refused);
}

pc_failure pc_collect_body(void) {
  pc_types_refused_t refused;
  return pc_done(pc_body_collect(&refused), &refused);
}

void pc_log(pc_log_level_t level, const char *message) {
  pc_string_t line = pc_string(message);
  pc_list_tuple2_string_string_t none;
  none.ptr = 0;
  none.len = 0;
  pc_log_log(level, &line, &none);
}

// The bindings want to be linked with an object that holds the types of the world, which `portcullis plugin build` adds.
void __component_type_object_force_link_pc(void);
void __component_type_object_force_link_pc(void) {}

static size_t pc_json_space(pc_string_t json, size_t at) {
  while (at < json.len && (json.ptr[at] == ' ' || json.ptr[at] == '\t' || json.ptr[at] == '\n' || json.ptr[at] == '\r'))
    at++;
  return at;
}

// The end of the value that begins at `at`: of a string or a number, or of all that an object or array has.
static size_t pc_json_end(pc_string_t json, size_t at) {
  size_t depth = 0;
  while (at < json.len) {
    uint8_t byte = json.ptr[at];
    if (byte == '"') {
      for (at++; at < json.len && json.ptr[at] != '"'; at++)
        if (json.ptr[at] == '\\') at++;
      if (++at > json.len) at = json.len;
      if (!depth) return at;
    } else if (byte == '{' || byte == '[') {
      depth++, at++;
    } else if (byte == '}' || byte == ']') {
      if (!depth) return at;
      at++;
      if (!--depth) return at;
    } else if (byte == ',' && !depth) {
      return at;
    } else {
      at++;
      if (!depth && (at == json.len || json.ptr[at] <= ' ' || json.ptr[at] == ',' || json.ptr[at] == '}' ||
                     json.ptr[at] == ']'))
        return at;
    }
  }
  return at;
}

static pc_string_t pc_json_part(pc_string_t json, size_t from, size_t to) {
  pc_string_t part;
  part.ptr = json.ptr + from;
  part.len = to - from;
  return part;
}

bool pc_json_next(pc_string_t json, size_t *at, pc_string_t *name, pc_string_t *value) {
  size_t here = *at;
  size_t start = pc_json_space(json, 0);
  if (start >= json.len || (json.ptr[start] != '{' && json.ptr[start] != '[')) return false;
  here = pc_json_space(json, here ? here : start + 1);
  if (here < json.len && json.ptr[here] == ',') here = pc_json_space(json, here + 1);
  if (here >= json.len || json.ptr[here] == '}' || json.ptr[here] == ']') return false;
  name->ptr = json.ptr;
  name->len = 0;
  if (json.ptr[start] == '{') {
    size_t end = pc_json_end(json, here);
    if (!pc_json_string(pc_json_part(json, here, end), name)) return false;
    here = pc_json_space(json, end);
    if (here >= json.len || json.ptr[here] != ':') return false;
    here = pc_json_space(json, here + 1);
  }
  size_t end = pc_json_end(json, here);
  if (end == here) return false;
  *value = pc_json_part(json, here, end);
  *at = end;
  return true;
}

bool pc_json_member(pc_string_t object, const char *name, pc_string_t *value) {
  pc_string_t found;
  for (size_t at = 0; pc_json_next(object, &at, &found, value);)
    if (pc_equal(found, name)) return true;
  return false;
}

static int32_t pc_json_hex(const uint8_t *digits) {
  int32_t number = 0;
  for (int at = 0; at < 4; at++) {
    uint8_t digit = digits[at];
    int32_t value = digit >= '0' && digit <= '9'   ? digit - '0'
                    : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                    : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                   : -1;
    if (value < 0) return -1;
    number = number * 16 + value;
  }
  return number;
}

static size_t pc_utf8(uint8_t *to, uint32_t character) {
  if (character < 0x80) {
    to[0] = (uint8_t)character;
    return 1;
  }
  size_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
  for (size_t at = size; at-- > 1; character >>= 6) to[at] = (uint8_t)(0x80 | (character & 0x3f));
  to[0] = (uint8_t)((0xf00u >> size) | character);
  return size;
}

bool pc_json_string(pc_string_t json, pc_string_t *text) {
  if (json.len < 2 || json.ptr[0] != '"' || json.ptr[json.len - 1] != '"') return false;
  const uint8_t *from = json.ptr + 1, *end = json.ptr + json.len - 1;
  if (!memchr(from, '\\', (size_t)(end - from))) {
    *text = pc_json_part(json, 1, json.len - 1);
    return true;
  }
  uint8_t *to = (uint8_t *)pc_take(json.len, 1);
  text->ptr = to;
  while (from < end) {
    if (*from != '\\') {
      *to++ = *from++;
      continue;
    }
    if (++from == end) return false;
    uint8_t escaped = *from++;
    if (escaped == 'u') {
      int32_t unit = end - from >= 4 ? pc_json_hex(from) : -1;
      if (unit < 0) return false;
      from += 4;
      uint32_t character = (uint32_t)unit;
      if (unit >= 0xd800 && unit < 0xe000) {
        // Half of a pair; without the other half there is no character.
        int32_t low = unit < 0xdc00 && end - from >= 6 && from[0] == '\\' && from[1] == 'u' ? pc_json_hex(from + 2) : -1;
        if (low >= 0xdc00 && low < 0xe000) {
          character = 0x10000u + (((uint32_t)unit - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u);
          from += 6;
        } else {
          character = 0xfffd;
        }
      }
      to += pc_utf8(to, character);
    } else {
      *to++ = escaped == 'n'   ? '\n'
              : escaped == 't' ? '\t'
              : escaped == 'r' ? '\r'
              : escaped == 'b' ? '\b'
              : escaped == 'f' ? '\f'
                               : escaped;
    }
  }
  text->len = (size_t)(to - text->ptr);
  return true;
}

bool pc_json_integer(pc_string_t json, int64_t *number) {
  size_t at = json.len && json.ptr[0] == '-';
  if (at == json.len) return false;
  int64_t sum = 0;
  for (size_t digit = at; digit < json.len; digit++) {
    if (json.ptr[digit] < '0' || json.ptr[digit] > '9') return false;
    if (__builtin_mul_overflow(sum, (int64_t)10, &sum)) return false;
    if (__builtin_sub_overflow(sum, (int64_t)(json.ptr[digit] - '0'), &sum)) return false;
  }
  // Counted below zero, where there is one number more.
  if (!at && __builtin_mul_overflow(sum, (int64_t)-1, &sum)) return false;
  *number = sum;
  return true;
}

pc_string_t pc_json_quoted(pc_string_t text) {
  static const char digits[] = "0123456789abcdef";
  pc_string_t json;
  // Each byte takes six at most.
  uint8_t *to = json.ptr = (uint8_t *)pc_take(text.len * 6 + 2, 1);
  *to++ = '"';
  for (size_t at = 0; at < text.len; at++) {
    uint8_t byte = text.ptr[at];
    if (byte == '"' || byte == '\\') {
      *to++ = '\\';
      *to++ = byte;
    } else if (byte < 0x20) {
      memcpy(to, "\\u00", 4);
      to[4] = (uint8_t)digits[byte >> 4];
      to[5] = (uint8_t)digits[byte & 15];
      to += 6;
    } else {
      *to++ = byte;
    }
  }
  *to++ = '"';
  json.len = (size_t)(to - json.ptr);
  return json;
}
