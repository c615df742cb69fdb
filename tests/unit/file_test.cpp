#include "promiseg/io/file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "temporary_folder.hpp"

using namespace promiseg;
using promiseg_test::read_bytes;
using promiseg_test::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  const std::vector<char> bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::ptrdiff_t files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

template <class Action>
std::optional<ErrorCode> code_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("MappedFile: dropped pages can be read again") {
  const TemporaryFolder folder;
  const std::string text(10000, 'x');
  write_file(folder / "file", text);
  write_file(folder / "empty", "");
  MappedFile file(folder / "file");
  const MappedFile empty(folder / "empty");
  for (int i = 0; i < 2; ++i) {
    CHECK(std::equal(file.bytes().begin(), file.bytes().end(), as_bytes(text).begin(),
                     as_bytes(text).end()));
    file.drop_pages();
    empty.drop_pages();
  }
  const MappedFile moved = std::move(file);
  file.drop_pages();
  CHECK(moved.bytes()[9999] == std::byte{'x'});
}

TEST_CASE("AtomicFile: the file appears with commit, whole") {
  const TemporaryFolder folder;
  const fs::path path = folder / "out.bin";
  {
    AtomicFile file(path);
    file.write(as_bytes("one "));
    file.write({});
    file.write(as_bytes("two"));
    CHECK_FALSE(fs::exists(path));
    file.commit();
    CHECK(text_of(path) == "one two");
    CHECK(code_of([&] { file.write(as_bytes("more")); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { file.commit(); }) == ErrorCode::invalid_argument);
  }
  CHECK(text_of(path) == "one two");
  CHECK(files_in(folder.path()) == 1);

  write_file(path, "");
  CHECK(text_of(path).empty());
  write_file(path, "three");
  CHECK(text_of(path) == "three");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("AtomicFile: without commit nothing appears and the old file stays") {
  const TemporaryFolder folder;
  const fs::path path = folder / "out.bin";
  {
    AtomicFile file(path);
    file.write(as_bytes("lost"));
  }
  CHECK(files_in(folder.path()) == 0);

  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write(as_bytes(std::string(100'000, 'x')));
    CHECK(text_of(path) == "old");
  }
  CHECK(text_of(path) == "old");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("AtomicFile: writers of one file do not disturb each other") {
  const TemporaryFolder folder;
  const fs::path path = folder / "out.bin";
  {
    AtomicFile first(path);
    AtomicFile second(path);
    AtomicFile abandoned(path);
    first.write(as_bytes("first"));
    second.write(as_bytes("second"));
    abandoned.write(as_bytes("abandoned"));
    second.commit();
    CHECK(text_of(path) == "second");
    first.commit();
  }
  CHECK(text_of(path) == "first");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("AtomicFile: places that cannot be written") {
  const TemporaryFolder folder;
  const auto open = [](const fs::path& path) { return code_of([&] { AtomicFile file(path); }); };
  CHECK(open(folder / "absent/out.bin") == ErrorCode::not_found);
  CHECK(open("") == ErrorCode::invalid_argument);
  write_file(folder / "file", "a file");
  CHECK(open(folder / "file/out.bin") == ErrorCode::not_found);
  fs::create_directory(folder / "inner");
  CHECK(open(folder / "inner") == ErrorCode::invalid_argument);
  CHECK(open(folder / std::string(5000, 'x')) == ErrorCode::io);
  // The name is of legal length, the unfinished file's is not.
  CHECK(open(folder / std::string(250, 'x')) == ErrorCode::io);
  fs::create_directory_symlink("loop", folder / "loop");
  CHECK(open(folder / "loop") == ErrorCode::io);
  CHECK(open(folder / "loop/out.bin") == ErrorCode::io);
  CHECK_THROWS_WITH_AS(write_file(folder / "absent/out.bin", ""),
                       doctest::Contains("does not exist"), Error);
  CHECK(files_in(folder.path()) == 3);
#if PROMISEG_HAS_MMAP
  CHECK(open("/dev/null") == ErrorCode::invalid_argument);
#endif
}

TEST_CASE("AtomicFile: when the name is taken at the end, nothing is left") {
  const TemporaryFolder folder;
  const fs::path path = folder / "out.bin";
  {
    AtomicFile file(path);
    file.write(as_bytes("text"));
    fs::create_directory(path);
    CHECK(code_of([&] { file.commit(); }) == ErrorCode::io);
  }
  CHECK(fs::is_directory(path));
  CHECK(files_in(folder.path()) == 1);
}

#if defined(__linux__)
TEST_CASE("AtomicFile: a folder that disappears meanwhile") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "inner");
  AtomicFile file(folder / "inner/out.bin");
  file.write(as_bytes("text"));
  fs::remove_all(folder / "inner");
  CHECK(code_of([&] { file.commit(); }) == ErrorCode::io);
}
#endif

TEST_CASE("MappedFile: contents, empty files, moves and refusals") {
  const TemporaryFolder folder;
  write_file(folder / "text", "contents");
  MappedFile file(folder / "text");
  const auto same = [](std::span<const std::byte> bytes, std::string_view text) {
    const auto expected = as_bytes(text);
    return std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end());
  };
  CHECK(same(file.bytes(), "contents"));
  write_file(folder / "text", "replaced");  // by name: what is mapped stays
  CHECK(same(file.bytes(), "contents"));
  MappedFile moved = std::move(file);
  CHECK(same(moved.bytes(), "contents"));
  moved = MappedFile(folder / "text");
  CHECK(same(moved.bytes(), "replaced"));
  write_file(folder / "empty", "");
  CHECK(MappedFile(folder / "empty").bytes().empty());
  CHECK(code_of([&] { MappedFile(folder / "absent"); }) == ErrorCode::not_found);
  CHECK(code_of([&] { MappedFile(folder.path()); }) == ErrorCode::invalid_argument);
}
