// Reads Python pickles as far as tensors and containers need it, and nothing else.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promiseg/io/pickle_input.hpp"
#include "promiseg/io/pickle_value.hpp"

namespace promiseg {

/// Bounds on what one pickle may ask for. Each is far above any real checkpoint.
struct UnpickleLimits {
  std::size_t values = std::size_t{1} << 20;    ///< values made
  std::size_t elements = std::size_t{1} << 22;  ///< items of all containers together
  std::size_t stack = std::size_t{1} << 20;     ///< values waiting on the stack
  std::size_t memo = std::size_t{1} << 20;      ///< values remembered for later use
  std::size_t depth = 1000;                     ///< containers open at the same time
};

/// One pickle and the number of bytes it took, for files that hold several in a row.
struct Unpickled {
  PickleTree tree;
  std::size_t size = 0;
};

namespace detail {

/// Axes a tensor may have, as in PyTorch.
inline constexpr std::size_t kMaxRank = 64;

/// The pickle machine: a stack, marks into it, and a memo. No call goes deeper than a few frames
/// whatever the input, and every opcode works in time proportional to the bytes or items it
/// consumes, which `UnpickleLimits` bounds.
class Unpickler {
 public:
  Unpickler(std::span<const std::byte> bytes, const UnpickleLimits& limits)
      : input_(bytes), limits_(limits) {}

  Unpickled run() {
    check(input_.take_byte() == 0x80, "it does not begin with a protocol number");
    read_protocol();
    while (step(input_.take_byte())) {
    }
    check(!stack_.empty() && marks_.empty(), "it ends without a value");
    tree_.root = stack_.back();
    return {std::move(tree_), input_.position()};
  }

 private:
  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    input_.check(condition, parts...);
  }

  void read_protocol() {
    const unsigned protocol = input_.take_byte();
    check(protocol >= 2 && protocol <= 5, "expected pickle protocol 2 to 5, got ", protocol);
  }

  // --- stack and memo

  void push_id(PickleId id) {
    check(stack_.size() < limits_.stack, "more than ", limits_.stack, " values on the stack");
    stack_.push_back(id);
  }

  void push(PickleValue value) {
    check(tree_.values.size() < limits_.values, "it makes more than ", limits_.values, " values");
    push_id(static_cast<PickleId>(tree_.values.size()));
    tree_.values.push_back(std::move(value));
  }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleId top() const {
    check(stack_.size() > floor(), "a value is missing on the stack");
    return stack_.back();
  }

  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }

  std::vector<PickleId> pop_to_mark() {
    check(!marks_.empty(), "a mark is missing on the stack");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_mark() {
    check(marks_.size() < limits_.depth, "containers are nested more than ", limits_.depth,
          " deep");
    marks_.push_back(stack_.size());
  }

  void remember(std::uint64_t slot) {
    check(slot < limits_.memo, "memo slot ", slot, " is beyond the limit of ", limits_.memo);
    if (slot >= memo_.size()) memo_.resize(static_cast<std::size_t>(slot) + 1);
    std::optional<PickleId>& entry = memo_[static_cast<std::size_t>(slot)];
    if (!entry) ++remembered_;
    entry = top();
  }

  void recall(std::uint64_t slot) {
    check(slot < memo_.size() && memo_[static_cast<std::size_t>(slot)].has_value(), "memo slot ",
          slot, " is used before it is filled");
    push_id(*memo_[static_cast<std::size_t>(slot)]);
  }

  // --- containers

  void count_elements(std::size_t more) {
    elements_ += more;
    check(elements_ <= limits_.elements, "its containers hold more than ", limits_.elements,
          " items");
  }

  void push_tuple(std::size_t count) {
    PickleTuple tuple{std::vector<PickleId>(count)};
    for (std::size_t i = count; i-- > 0;) tuple.items[i] = pop();
    count_elements(count);
    push(std::move(tuple));
  }

  void append(std::span<const PickleId> items) {
    auto* list = std::get_if<PickleList>(&tree_.values[top()]);
    check(list != nullptr, "items are appended to ", kind_name(tree_[top()]));
    count_elements(items.size());
    list->items.insert(list->items.end(), items.begin(), items.end());
  }

  void set_items(PickleId target, std::span<const PickleId> items) {
    auto* dict = std::get_if<PickleDict>(&tree_.values[target]);
    check(dict != nullptr, "entries are set in ", kind_name(tree_[target]));
    check(items.size() % 2 == 0, "a dictionary key has no value");
    count_elements(items.size());
    for (std::size_t i = 0; i < items.size(); i += 2) {
      dict->entries.emplace_back(items[i], items[i + 1]);
    }
  }

  // --- numbers and text

  void push_long(std::uint64_t width) {
    const std::string_view text = input_.take(width);
    if (text.size() > 8) return push(PickleBigInteger{std::string(text)});
    const bool negative = !text.empty() && (static_cast<unsigned char>(text.back()) & 0x80) != 0;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = text.size(); i-- > 0;) {
      value = (value << 8) | static_cast<unsigned char>(text[i]);
    }
    push(static_cast<std::int64_t>(value));
  }

  void push_float() {
    std::uint64_t bits = 0;
    for (char c : input_.take(8)) bits = (bits << 8) | static_cast<unsigned char>(c);
    push(std::bit_cast<double>(bits));
  }

  void push_text(std::uint64_t size) {
    const std::string_view text = input_.take(size);
    check(is_utf8(text), "the string \"", printable(text), "\" is not UTF-8");
    push(std::string(text));
  }

  // --- globals and what may be made of them

  void push_global(std::string_view module, std::string_view name) {
    for (const AllowedGlobal& allowed : kAllowedGlobals) {
      if (allowed.module == module && allowed.name == name) return push(PickleGlobal{&allowed});
    }
    const std::string what = printable(module) + "." + printable(name);
    require(module != "torch" || !name.ends_with("Storage"), ErrorCode::unsupported,
            "this checkpoint stores elements as `", what,
            "`; expected floating-point numbers, integers or booleans");
    refuse(what);
  }

  [[noreturn]] static void refuse(std::string_view what) {
    fail(ErrorCode::unsupported, "this checkpoint asks to run `", what,
         "`; promiseg never executes code from a checkpoint. Expected only tensors and containers, "
         "as torch.save(model.state_dict(), ...) writes them");
  }

  void push_stack_global() {
    const PickleId name = pop();
    const PickleId module = pop();
    const auto* name_text = tree_.find<std::string>(name);
    const auto* module_text = tree_.find<std::string>(module);
    check(name_text != nullptr && module_text != nullptr, "a global is not named by two strings");
    push_global(*module_text, *name_text);
  }

  std::uint64_t unsigned_of(PickleId id, std::string_view what) const {
    const auto* value = tree_.find<std::int64_t>(id);
    check(value != nullptr, what, ": expected an integer, got ", kind_name(tree_[id]));
    check(*value >= 0, what, ": expected zero or more, got ", *value);
    return static_cast<std::uint64_t>(*value);
  }

  std::vector<std::uint64_t> extents_of(PickleId id, std::string_view what) const {
    const auto* tuple = tree_.find<PickleTuple>(id);
    check(tuple != nullptr, what, ": expected a tuple, got ", kind_name(tree_[id]));
    check(tuple->items.size() <= kMaxRank, what, ": more than ", kMaxRank, " axes");
    std::vector<std::uint64_t> extents;
    for (PickleId item : tuple->items) extents.push_back(unsigned_of(item, what));
    return extents;
  }

  /// ('storage', type, key, location, count[, None or (view key, offset, count)])
  void push_persistent() {
    const PickleId id = pop();
    const auto* tuple = tree_.find<PickleTuple>(id);
    check(tuple != nullptr && (tuple->items.size() == 5 || tuple->items.size() == 6),
          "a persistent id is not a tuple of five or six");
    const std::vector<PickleId>& items = tuple->items;
    const auto* tag = tree_.find<std::string>(items[0]);
    check(tag != nullptr && *tag == "storage", "a persistent id is not a storage");
    const auto* type = tree_.find<PickleGlobal>(items[1]);
    check(type != nullptr && type->what->role == GlobalRole::storage_type,
          "a storage has no storage type");
    check(tree_.find<std::string>(items[2]) != nullptr, "a storage has no key");

    PickleStorage storage;
    storage.dtype = type->what->dtype;
    storage.key = items[2];
    storage.count = unsigned_of(items[4], "storage size");
    storage.view_count = storage.count;
    if (items.size() == 6 && tree_.find<PickleNone>(items[5]) == nullptr) {
      const auto* view = tree_.find<PickleTuple>(items[5]);
      check(view != nullptr && view->items.size() == 3, "a storage view is not a tuple of three");
      storage.view_offset = unsigned_of(view->items[1], "storage view offset");
      storage.view_count = unsigned_of(view->items[2], "storage view size");
      check(storage.view_offset <= storage.count &&
                storage.view_count <= storage.count - storage.view_offset,
            "a storage view reaches beyond its storage");
    }
    push(storage);
  }

  void push_tensor(std::span<const PickleId> arguments, std::size_t fewest, std::size_t most) {
    check(arguments.size() >= fewest && arguments.size() <= most, "a tensor is built from ",
          arguments.size(), " arguments");
    check(tree_.find<PickleStorage>(arguments[0]) != nullptr, "a tensor is built from ",
          kind_name(tree_[arguments[0]]), " instead of a storage");
    PickleTensor tensor;
    tensor.storage = arguments[0];
    tensor.offset = unsigned_of(arguments[1], "tensor offset");
    tensor.sizes = extents_of(arguments[2], "tensor size");
    tensor.strides = extents_of(arguments[3], "tensor stride");
    check(tensor.sizes.size() == tensor.strides.size(), "a tensor has ", tensor.sizes.size(),
          " sizes but ", tensor.strides.size(), " strides");
    count_elements(2 * tensor.sizes.size());
    push(std::move(tensor));
  }

  void push_ordered_dict(std::span<const PickleId> arguments) {
    check(arguments.size() <= 1, "an OrderedDict is built from ", arguments.size(), " arguments");
    std::vector<PickleId> flat;
    if (!arguments.empty()) {
      // Python 2 writes the entries as one list of pairs.
      const auto* pairs = tree_.find<PickleList>(arguments[0]);
      check(pairs != nullptr, "an OrderedDict is built from ", kind_name(tree_[arguments[0]]));
      count_elements(pairs->items.size());
      for (PickleId id : pairs->items) {
        const auto* list = tree_.find<PickleList>(id);
        const auto* tuple = tree_.find<PickleTuple>(id);
        check(list != nullptr || tuple != nullptr, "an OrderedDict entry is not a pair");
        const std::vector<PickleId>& pair = list != nullptr ? list->items : tuple->items;
        check(pair.size() == 2, "an OrderedDict entry is not a pair");
        flat.insert(flat.end(), pair.begin(), pair.end());
      }
    }
    push(PickleDict{{}, true});
    set_items(top(), flat);
  }

  void reduce() {
    const PickleId arguments_id = pop();
    const PickleId callable_id = pop();
    const auto* tuple = tree_.find<PickleTuple>(arguments_id);
    check(tuple != nullptr, "call arguments are ", kind_name(tree_[arguments_id]));
    const auto* callable = tree_.find<PickleGlobal>(callable_id);
    check(callable != nullptr, "it calls ", kind_name(tree_[callable_id]));
    // What is pushed below may move the values, so the few arguments are copied.
    check(tuple->items.size() <= 8, "a call has ", tuple->items.size(), " arguments");
    const std::vector<PickleId> arguments = tuple->items;

    switch (callable->what->role) {
      case GlobalRole::ordered_dict:
        return push_ordered_dict(arguments);
      case GlobalRole::rebuild_tensor:
        return push_tensor(arguments, 4, 4);
      case GlobalRole::rebuild_tensor_v2:
        return push_tensor(arguments, 6, 7);
      case GlobalRole::rebuild_parameter:
        check(!arguments.empty() && tree_.find<PickleTensor>(arguments[0]) != nullptr,
              "a parameter is not built from a tensor");
        return push_id(arguments[0]);
      case GlobalRole::device:
        return push(PickleDevice{});
      case GlobalRole::size:
        check(arguments.size() == 1 && tree_.find<PickleTuple>(arguments[0]) != nullptr,
              "a torch.Size is not built from a tuple");
        return push_id(arguments[0]);
      case GlobalRole::storage_type:
      case GlobalRole::dtype:
        break;
    }
    refuse(std::string(callable->what->module) + "." + std::string(callable->what->name) + "()");
  }

  /// The state of an OrderedDict (`_metadata`) says nothing about tensors and is dropped; anything
  /// else with a state would be an object.
  void build() {
    pop();
    const auto* dict = tree_.find<PickleDict>(top());
    if (dict == nullptr || !dict->ordered) {
      refuse("__setstate__ of " + std::string(kind_name(tree_[top()])));
    }
  }

  // --- opcodes, by their names in Python's pickletools

  bool step(unsigned opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        read_protocol();
        break;
      case 0x95: {  // FRAME
        const std::uint64_t size = input_.take_unsigned(8);
        check(size <= input_.remaining(), "a frame of ", size, " bytes is cut short");
        break;
      }
      case '.':  // STOP
        return false;
      case '(':  // MARK
        push_mark();
        break;
      case '0':  // POP
        pop();
        break;
      case '1':  // POP_MARK
        pop_to_mark();
        break;
      case '2':  // DUP
        push_id(top());
        break;

      case 'N':  // NONE
        push(PickleNone{});
        break;
      case 0x88:  // NEWTRUE
        push(true);
        break;
      case 0x89:  // NEWFALSE
        push(false);
        break;
      case 'K':  // BININT1
        push(static_cast<std::int64_t>(input_.take_unsigned(1)));
        break;
      case 'M':  // BININT2
        push(static_cast<std::int64_t>(input_.take_unsigned(2)));
        break;
      case 'J':  // BININT
        push_long(4);
        break;
      case 0x8A:  // LONG1
        push_long(input_.take_unsigned(1));
        break;
      case 0x8B:  // LONG4
        push_long(input_.take_unsigned(4));
        break;
      case 'G':  // BINFLOAT
        push_float();
        break;
      case 0x8C:  // SHORT_BINUNICODE
        push_text(input_.take_unsigned(1));
        break;
      case 'X':  // BINUNICODE
        push_text(input_.take_unsigned(4));
        break;
      case 0x8D:  // BINUNICODE8
        push_text(input_.take_unsigned(8));
        break;
      case 'U':  // SHORT_BINSTRING
        push_text(input_.take_unsigned(1));
        break;
      case 'T':  // BINSTRING
        push_text(input_.take_unsigned(4));
        break;
      case 'C':  // SHORT_BINBYTES
        push(PickleBytes{std::string(input_.take(input_.take_unsigned(1)))});
        break;
      case 'B':  // BINBYTES
        push(PickleBytes{std::string(input_.take(input_.take_unsigned(4)))});
        break;
      case 0x8E:  // BINBYTES8
        push(PickleBytes{std::string(input_.take(input_.take_unsigned(8)))});
        break;

      case ')':  // EMPTY_TUPLE
        push(PickleTuple{});
        break;
      case 0x85:  // TUPLE1
        push_tuple(1);
        break;
      case 0x86:  // TUPLE2
        push_tuple(2);
        break;
      case 0x87:  // TUPLE3
        push_tuple(3);
        break;
      case 't': {  // TUPLE
        PickleTuple tuple{pop_to_mark()};
        count_elements(tuple.items.size());
        push(std::move(tuple));
        break;
      }
      case ']':  // EMPTY_LIST
        push(PickleList{});
        break;
      case 'a': {  // APPEND
        const PickleId item = pop();
        append({&item, 1});
        break;
      }
      case 'e':  // APPENDS
        append(pop_to_mark());
        break;
      case '}':  // EMPTY_DICT
        push(PickleDict{});
        break;
      case 's': {  // SETITEM
        const PickleId value = pop();
        const PickleId key = pop();
        set_items(top(), std::array{key, value});
        break;
      }
      case 'u': {  // SETITEMS
        const std::vector<PickleId> items = pop_to_mark();
        set_items(top(), items);
        break;
      }

      case 'q':  // BINPUT
        remember(input_.take_unsigned(1));
        break;
      case 'r':  // LONG_BINPUT
        remember(input_.take_unsigned(4));
        break;
      case 0x94:  // MEMOIZE
        remember(remembered_);
        break;
      case 'h':  // BINGET
        recall(input_.take_unsigned(1));
        break;
      case 'j':  // LONG_BINGET
        recall(input_.take_unsigned(4));
        break;

      case 'c': {  // GLOBAL
        const std::string_view module = input_.take_line();
        const std::string_view name = input_.take_line();
        push_global(module, name);
        break;
      }
      case 0x93:  // STACK_GLOBAL
        push_stack_global();
        break;
      case 'Q':  // BINPERSID
        push_persistent();
        break;
      case 'R':  // REDUCE
        reduce();
        break;
      case 'b':  // BUILD
        build();
        break;

      case 'i':
        refuse("INST");
      case 'o':
        refuse("OBJ");
      case 0x81:
        refuse("NEWOBJ");
      case 0x92:
        refuse("NEWOBJ_EX");
      case 0x82:
        refuse("EXT1");
      case 0x83:
        refuse("EXT2");
      case 0x84:
        refuse("EXT4");
      case 0x8F:
      case 0x90:
      case 0x91:
        fail(ErrorCode::unsupported,
             "this checkpoint holds a set. Expected only tensors, numbers, "
             "strings, tuples, lists and dictionaries");
      default:
        check(false, "opcode ", opcode, " is none that torch.save writes");
    }
    return true;
  }

  PickleInput input_;
  UnpickleLimits limits_;
  PickleTree tree_;
  std::vector<PickleId> stack_;
  std::vector<std::size_t> marks_;
  std::vector<std::optional<PickleId>> memo_;
  std::size_t remembered_ = 0;
  std::size_t elements_ = 0;
};

}  // namespace detail

/// Reads the pickle (protocol 2 to 5) at the beginning of `bytes`. It may name the globals of
/// `kAllowedGlobals` only, and calls none of them: tensors and storages become plain records, the
/// rest numbers, strings and containers. Throws `unsupported`, naming it, for any other global,
/// object or set, and `bad_format` for damaged data or data beyond `limits`.
inline Unpickled unpickle(std::span<const std::byte> bytes, const UnpickleLimits& limits = {}) {
  return detail::Unpickler(bytes, limits).run();
}

}  // namespace promiseg
