#include "promiseg/io/image_reference.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "temporary_folder.hpp"

namespace fs = std::filesystem;
using promiseg::Error;
using promiseg::ErrorCode;
using promiseg::ImageReference;
using promiseg::parse_image_reference;
using promiseg::Slice;
using promiseg::SliceAxis;
using promiseg_test::TemporaryFolder;
using promiseg_test::write_bytes;

TEST_CASE("image references: a path, or a slice after it") {
  CHECK(parse_image_reference("a/b.png") == ImageReference("a/b.png"));
  CHECK(parse_image_reference("b.nii.gz#coronal=120") ==
        ImageReference("b.nii.gz", Slice{SliceAxis::coronal, 120}));
  CHECK(parse_image_reference("b.nii#axial=0") ==
        ImageReference("b.nii", Slice{SliceAxis::axial, 0}));
  CHECK(parse_image_reference("a#1/b#2.nii#sagittal=7,volume=3") ==
        ImageReference("a#1/b#2.nii", Slice{SliceAxis::sagittal, 7, 3}));
  const fs::path path = "a/b.png";
  const ImageReference converted = path;
  CHECK(converted == ImageReference("a/b.png"));
}

TEST_CASE("image references: their text is read back") {
  for (const char* text : {"a/b.png", "b.nii#axial=12", "b.nii#coronal=0,volume=2", "x#y"}) {
    CHECK(to_string(parse_image_reference(text)) == text);
  }
  CHECK(to_string(parse_image_reference("b.nii#axial=3,volume=0")) == "b.nii#axial=3");
}

TEST_CASE("image references: a file with a # in its name, and slices that are none") {
  const TemporaryFolder folder;
  const std::string literal = folder / "scan#axial=1";
  write_bytes(literal, std::string("x"));
  CHECK(parse_image_reference(literal) == ImageReference(literal));

  const std::string volume = folder / "scan.nii";
  CHECK(parse_image_reference(volume + "#what") == ImageReference(volume + "#what"));
  write_bytes(volume, std::string("x"));
  CHECK(parse_image_reference(volume + "#axial=1").slice == Slice{SliceAxis::axial, 1});
  for (const char* ending :
       {"#", "#what", "#axial", "#axial=", "#axial=-1", "#axial=+1", "#axial=1.5", "#axial=1 ",
        "#Axial=1", "#axial=1,", "#axial=1,volume=", "#axial=1,volume=x",
        "#axial=1,volume=1,volume=1", "#axial=99999999999999999999", "#oblique=1", "#volume=1"}) {
    CAPTURE(ending);
    try {
      parse_image_reference(volume + ending);
      FAIL_CHECK("read without an error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::invalid_argument);
      CHECK(std::string_view(error.what()).find(volume + ending) != std::string_view::npos);
      CHECK(std::string_view(error.what()).find("coronal=INDEX") != std::string_view::npos);
    }
  }
}

TEST_CASE("image references: stems name results") {
  const auto stem = [](std::string_view text) { return image_stem(parse_image_reference(text)); };
  CHECK(stem("out/picture.png") == "picture");
  CHECK(stem("1.2.840.1") == "1.2.840.1");
  CHECK(stem("a.b.png") == "a.b");
  CHECK(stem("plain") == "plain");
  CHECK(stem("ch2.nii.gz#coronal=120") == "ch2_coronal120");
  CHECK(stem("ch2.nii#axial=0") == "ch2_axial0");
  CHECK(stem("ch2.nii.gz#sagittal=5,volume=2") == "ch2_sagittal5_volume2");
  CHECK(stem("flat.nii.gz") == "flat");
  CHECK(stem("pair.hdr.gz") == "pair");
  CHECK(stem("notes.txt.gz") == "notes.txt");
}
