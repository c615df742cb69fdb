#include "promiseg/io/unpickler.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <random>

using namespace promiseg;
using namespace std::string_literals;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

Unpickled parse(const std::string& opcodes, const UnpickleLimits& limits = {}) {
  return unpickle(bytes_of("\x80\x02" + opcodes), limits);
}

template <class T>
T value_of(const std::string& opcodes) {
  const Unpickled result = parse(opcodes);
  const T* value = result.tree.find<T>(result.tree.root);
  REQUIRE(value != nullptr);
  return *value;
}

/// The error that parsing gives; fails the test if there is none.
Error error_of(const std::string& opcodes, const UnpickleLimits& limits = {}) {
  try {
    parse(opcodes, limits);
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  return {ErrorCode::io, ""};
}

std::string message_of(const std::string& opcodes) { return error_of(opcodes).what(); }

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string text(const std::string& value) {
  return "\x8c"s + static_cast<char>(value.size()) + value;
}

/// A float storage "0" of `count` elements.
std::string storage_of(int count) {
  return "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K" +
         static_cast<char>(count) + "tQ";
}

std::string tensor(const std::string& sizes, const std::string& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage_of(6) + "K\x01" + sizes + strides +
         "\x89" + "ccollections\nOrderedDict\n)RtR";
}

std::string read_file(const std::string& name) {
  std::ifstream file(std::string(PROMISEG_TEST_DATA) + "/checkpoints/" + name, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("unpickler: numbers") {
  CHECK(value_of<std::int64_t>("K\xff.") == 255);
  CHECK(value_of<std::int64_t>("M\x01\x80.") == 0x8001);
  CHECK(value_of<std::int64_t>("J\xfe\xff\xff\xff.") == -2);
  CHECK(value_of<std::int64_t>("\x8a\x00."s) == 0);
  CHECK(value_of<std::int64_t>("\x8a\x01\xff.") == -1);
  CHECK(value_of<std::int64_t>("\x8a\x02\xff\x00."s) == 255);
  CHECK(value_of<std::int64_t>("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."s) ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(value_of<PickleBigInteger>("\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09.").bytes ==
        "\x01\x02\x03\x04\x05\x06\x07\x08\x09");
  CHECK(value_of<double>("G\xbf\xf8\x00\x00\x00\x00\x00\x00."s) == -1.5);
  CHECK(value_of<bool>("\x88."));
  CHECK_FALSE(value_of<bool>("\x89."));
  value_of<PickleNone>("N.");
}

TEST_CASE("unpickler: strings and bytes") {
  CHECK(value_of<std::string>("\x8c\x02hi.") == "hi");
  CHECK(value_of<std::string>("X\x02\x00\x00\x00hi."s) == "hi");
  CHECK(value_of<std::string>("\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi."s) == "hi");
  CHECK(value_of<std::string>("U\x02hi.") == "hi");
  CHECK(value_of<std::string>("\x8c\x04\xf0\x9f\x94\xac.") == "\xf0\x9f\x94\xac");
  CHECK(value_of<PickleBytes>("C\x02\xff\x00."s).bytes == "\xff\x00"s);
  CHECK(value_of<PickleBytes>("B\x01\x00\x00\x00\xff."s).bytes == "\xff");
  for (const char* bad :
       {"\xff\xff", "\xc0\xaf", "\xed\xa0\x80", "\xc3", "a\x80", "\xf5\x80\x80\x80"}) {
    CHECK(contains(message_of(text(bad) + "."), "UTF-8"));
  }
}

TEST_CASE("unpickler: containers, marks and memo") {
  const Unpickled result = parse("}q\x00("s + text("a") + "]q\x01(K\x01K\x02" + "e" + text("b") +
                                 "h\x01\x86\x94" + "K\x05" + "u" + text("c") + "h\x02s.");
  const PickleTree& tree = result.tree;
  const auto* dict = tree.find<PickleDict>(tree.root);
  REQUIRE(dict != nullptr);
  CHECK_FALSE(dict->ordered);
  CHECK(dict->entries.size() == 3);
}

TEST_CASE("unpickler: the same list is shared, not copied") {
  const Unpickled result = parse("]\x94K\x07" + "ah\x00h\x00h\x00\x87."s);
  const auto* tuple = result.tree.find<PickleTuple>(result.tree.root);
  REQUIRE(tuple != nullptr);
  REQUIRE(tuple->items.size() == 3);
  CHECK(tuple->items[0] == tuple->items[2]);
  const auto* list = result.tree.find<PickleList>(tuple->items[1]);
  REQUIRE(list != nullptr);
  CHECK(list->items.size() == 1);
}

TEST_CASE("unpickler: several pickles in a row") {
  const std::string both = "\x80\x02K\x01.\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00K\x02."s;
  const Unpickled first = unpickle(bytes_of(both));
  CHECK(first.size == 5);
  const Unpickled second = unpickle(bytes_of(both).subspan(first.size));
  CHECK(*second.tree.find<std::int64_t>(second.tree.root) == 2);
}

TEST_CASE("unpickler: tensors, parameters and sizes") {
  const std::string sizes = "K\x02K\x02\x86";
  const std::string strides = "K\x03K\x01\x86";
  const Unpickled result = parse(tensor(sizes, strides) + ".");
  const auto* value = result.tree.find<PickleTensor>(result.tree.root);
  REQUIRE(value != nullptr);
  CHECK(value->offset == 1);
  CHECK(value->sizes == std::vector<std::uint64_t>{2, 2});
  CHECK(value->strides == std::vector<std::uint64_t>{3, 1});
  const auto* from = result.tree.find<PickleStorage>(value->storage);
  REQUIRE(from != nullptr);
  CHECK(from->dtype == DType::f32);
  CHECK(from->count == 6);
  CHECK(*result.tree.find<std::string>(from->key) == "0");

  value_of<PickleTensor>("ctorch._utils\n_rebuild_parameter\n" + tensor(sizes, strides) +
                         "\x88N\x87R.");
  value_of<PickleTensor>(tensor("ctorch\nSize\n" + sizes + "\x85R", strides) + ".");

  CHECK(contains(message_of(tensor(sizes, "K\x01\x85") + "."), "2 sizes but 1 strides"));
  CHECK(contains(message_of(tensor(sizes, "K\x01J\xff\xff\xff\xff\x86") + "."), "zero or more"));
  CHECK(contains(message_of(tensor(text("ab"), strides) + "."), "expected a tuple, got a string"));
  std::string axes = "(";
  for (int i = 0; i < 65; ++i) axes += "K\x01";
  CHECK(contains(message_of(tensor(axes + "t", axes + "t") + "."), "more than 64 axes"));
}

TEST_CASE("unpickler: a view of a storage, as old files have them") {
  const auto view = [](const std::string& range) {
    return "(" + text("storage") + "ctorch\nHalfStorage\n" + text("7") + text("cpu") + "K\x0a(" +
           text("8") + range + "ttQ.";
  };
  const auto storage = value_of<PickleStorage>(view("K\x04K\x06"));
  CHECK(storage.dtype == DType::f16);
  CHECK(storage.count == 10);
  CHECK(storage.view_offset == 4);
  CHECK(storage.view_count == 6);
  CHECK(contains(message_of(view("K\x04K\x07")), "beyond its storage"));
  CHECK(contains(message_of(view("K\x0bK\x00"s)), "beyond its storage"));
}

TEST_CASE("unpickler: an OrderedDict with entries and a dropped state") {
  const Unpickled result =
      parse("ccollections\nOrderedDict\n)R" + text("k") + "K\x01s}" + text("_metadata") + "}sb.");
  const auto* dict = result.tree.find<PickleDict>(result.tree.root);
  REQUIRE(dict != nullptr);
  CHECK(dict->ordered);
  CHECK(dict->entries.size() == 1);

  const auto from_pairs = value_of<PickleDict>("ccollections\nOrderedDict\n](" + text("k") +
                                               "K\x01\x86" + text("l") + "K\x02\x86" + "e\x85R.");
  CHECK(from_pairs.entries.size() == 2);
}

TEST_CASE("unpickler: code is refused by name") {
  const std::string call = "(" + text("touch promiseg_was_here") + "tR.";
  for (const std::string& name : {"cos\nsystem\n"s, text("os") + text("system") + "\x93"}) {
    const Error error = error_of(name + call);
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(contains(error.what(), "asks to run `os.system`"));
    CHECK(contains(error.what(), "never executes code"));
  }
  CHECK(contains(message_of("cbuiltins\neval\n."), "`builtins.eval`"));
  CHECK(contains(message_of("cargparse\nNamespace\n."), "`argparse.Namespace`"));
  CHECK(contains(message_of("ctorch\nload\n."), "`torch.load`"));
  // An allowed name in another module is another function.
  CHECK(contains(message_of("cevil\nOrderedDict\n."), "`evil.OrderedDict`"));
  CHECK(contains(message_of("ctorch\nComplexFloatStorage\n."), "stores elements"));
  // What is allowed as a name is not thereby callable.
  CHECK(contains(message_of("ctorch\nFloatStorage\n)R."), "`torch.FloatStorage()`"));
  CHECK(contains(message_of("}}b."), "__setstate__"));
  CHECK(contains(message_of("ccollections\nOrderedDict\n)\x81."), "`NEWOBJ`"));
  CHECK(contains(message_of("(ios\nsystem\n."), "`INST`"));
  CHECK(contains(message_of("\x82\x01."), "`EXT1`"));
  CHECK(contains(message_of("\x8f."), "set"));
  CHECK(contains(message_of("c\x1b[31m\nx\n."), "`\\x1b[31m.x`"));
  CHECK(message_of("c" + std::string(100000, 'x') + "\ny\n.").size() < 500);
}

TEST_CASE("unpickler: damaged data") {
  for (const std::string& bad :
       std::vector<std::string>{"."s,
                                "a."s,
                                "]a."s,
                                "e."s,
                                "K\x01K\x02" + "a."s,
                                "t."s,
                                "\x85."s,
                                "0."s,
                                "1."s,
                                "2."s,
                                "(K\x01\x85."s,
                                "K\x01(\x85."s,
                                "h\x00."s,
                                "h\x05."s,
                                "q\x00."s,
                                "R."s,
                                "N)R."s,
                                "ccollections\nOrderedDict\nNR."s,
                                "Q."s,
                                "NQ."s,
                                ")Q."s,
                                "b."s,
                                "}K\x01s."s,
                                "}(K\x01u."s,
                                "K\x01K\x01\x93."s,
                                "I1\n."s,
                                "F1\n."s,
                                "\x00."s,
                                "\xff."s,
                                "j\xff\xff\xff\xff."s,
                                "Nr\xff\xff\xff\xff."s,
                                "X\xff\xff\xff\xff."s,
                                "cabc"s,
                                ""s,
                                "\x8d\xff\xff\xff\xff\xff\xff\xff\xff."s,
                                "\x95\xff\xff\xff\xff\xff\xff\xff\xffN."s}) {
    CAPTURE(bad);
    CHECK(error_of(bad).code() == ErrorCode::bad_format);
  }
  CHECK_THROWS_AS(unpickle({}), Error);
  CHECK_THROWS_AS(unpickle(bytes_of("N.")), Error);
  CHECK_THROWS_AS(unpickle(bytes_of("\x80\x01N.")), Error);
  CHECK_THROWS_AS(unpickle(bytes_of("\x80\x06N.")), Error);
}

TEST_CASE("unpickler: bounds") {
  CHECK(contains(message_of(std::string(2000, '(') + "."), "nested more than"));
  CHECK(contains(message_of(std::string(2'000'000, 'N') + "."), "values"));
  CHECK(contains(message_of("N" + std::string(2'000'000, '2') + "."), "on the stack"));
  UnpickleLimits few;
  few.elements = 10;
  CHECK(contains(error_of("(NNNNNNNNNNNt.", few).what(), "more than 10 items"));

  // Doubling: a tuple of two of the same, again and again. The tree stays as small as the input.
  std::string doubling = ")\x94";
  for (int i = 0; i < 60; ++i) doubling += "2\x86";
  CHECK(parse(doubling + ".").tree.values.size() == 61);

  // A pair list that is expanded by every call is counted every time.
  std::string expanding = "]\x94(";
  for (int i = 0; i < 1000; ++i) expanding += "NN\x86";
  expanding += "e";
  for (int i = 0; i < 3000; ++i) expanding += "ccollections\nOrderedDict\nh\x00\x85R"s;
  CHECK(contains(message_of(expanding + "."), "items"));
}

TEST_CASE("unpickler: cyclic and deep structures neither leak nor overflow") {
  const Unpickled cyclic = parse("]\x94h\x00"s + "a.");
  const auto* list = cyclic.tree.find<PickleList>(cyclic.tree.root);
  REQUIRE(list != nullptr);
  CHECK(list->items.front() == cyclic.tree.root);

  const Unpickled deep = parse(")" + std::string(500'000, '\x85') + ".");
  CHECK(deep.tree.values.size() == 500'001);
}

TEST_CASE("unpickler: any truncation or changed byte gives an error or a value") {
  const std::string whole = read_file("legacy.pth");
  std::size_t parsed = 0;
  const auto survive = [&](std::span<const std::byte> bytes) {
    try {
      while (!bytes.empty()) {
        bytes = bytes.subspan(unpickle(bytes).size);
        ++parsed;
      }
    } catch (const Error&) {  // the other accepted outcome
    }
  };
  for (std::size_t size = 0; size <= whole.size(); ++size) survive(bytes_of(whole).first(size));
  CHECK(parsed > whole.size());

  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string changed = whole;
    for (int flips = 1 + round % 3; flips > 0; --flips) {
      changed[random() % changed.size()] = static_cast<char>(random() & 0xFF);
    }
    survive(bytes_of(changed));
  }
}
