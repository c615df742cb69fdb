#include "promiseg/io/dicom.hpp"

#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dcrlerp.h>
#include <dcmtk/dcmdata/dcuid.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <dcmtk/dcmjpls/djrparam.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "hostile_files.hpp"
#include "promiseg/io/image_reader.hpp"
#include "temporary_folder.hpp"

namespace fs = std::filesystem;
using promiseg::Error;
using promiseg::ErrorCode;
using promiseg::Image;
using promiseg::Index;
using promiseg::RawImage;
using promiseg::read_image;
using promiseg::Tensor;
using promiseg::ValueRange;
using promiseg::Window;
using promiseg_test::TemporaryFolder;

namespace {

// A grey picture of 16 bits; tests change what they need.
struct Dicom {
  DcmFileFormat file;
  Uint16 rows;
  Uint16 columns;

  Dicom(Uint16 row_count, Uint16 column_count, const char* photometric = "MONOCHROME2",
        Uint16 bits = 16, Uint16 samples = 1)
      : rows(row_count), columns(column_count) {
    text(DCM_SOPClassUID, UID_SecondaryCaptureImageStorage);
    text(DCM_SOPInstanceUID, "1.2.3.4");
    number(DCM_Rows, rows);
    number(DCM_Columns, columns);
    number(DCM_SamplesPerPixel, samples);
    number(DCM_BitsAllocated, bits);
    number(DCM_BitsStored, bits);
    number(DCM_HighBit, static_cast<Uint16>(bits - 1));
    number(DCM_PixelRepresentation, 0);
    text(DCM_PhotometricInterpretation, photometric);
    if (samples > 1) number(DCM_PlanarConfiguration, 0);
  }

  DcmDataset& data() { return *file.getDataset(); }
  void text(const DcmTagKey& tag, const char* value) { data().putAndInsertString(tag, value); }
  void number(const DcmTagKey& tag, Uint16 value) { data().putAndInsertUint16(tag, value); }
  void words(const std::vector<Uint16>& values) {
    data().putAndInsertUint16Array(DCM_PixelData, values.data(), values.size());
  }
  void bytes(const std::vector<Uint8>& values) {
    data().putAndInsertUint8Array(DCM_PixelData, values.data(), values.size());
  }
  void save(const fs::path& path, E_TransferSyntax syntax = EXS_LittleEndianExplicit,
            E_FileWriteMode mode = EWM_fileformat) {
    REQUIRE(file.saveFile(path.c_str(), syntax, EET_UndefinedLength, EGL_recalcGL, EPD_noChange, 0,
                          0, mode)
                .good());
  }
};

template <class T>
std::vector<T> samples_of(const RawImage& raw) {
  const auto elements = std::get<Tensor<T, 3>>(raw.samples).elements();
  return {elements.begin(), elements.end()};
}
std::vector<float> floats_of(const RawImage& raw) { return samples_of<float>(raw); }

std::vector<int> bytes_of(const Image& image) {
  return {image.elements().begin(), image.elements().end()};
}

std::string refusal(const fs::path& path, ErrorCode code, Index frame = 0) {
  try {
    read_image(path, frame);
  } catch (const Error& error) {
    CHECK(error.code() == code);
    CHECK(std::string(error.what()).find(path.string()) != std::string::npos);
    return error.what();
  }
  return "read without an error";
}

void check_contains(const std::string& text, const char* part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
}

std::vector<Uint16> ramp(std::size_t count) {
  std::vector<Uint16> words(count);
  for (std::size_t i = 0; i < count; ++i) words[i] = static_cast<Uint16>(i * 517 + i / 3);
  return words;
}

}  // namespace

TEST_CASE("DICOM: stored values are rescaled, and the automatic window is suggested") {
  const TemporaryFolder folder;
  Dicom dicom(1, 3);
  dicom.words({0, 1000, 65535});
  dicom.save(folder / "plain");
  const RawImage plain = read_image(folder / "plain");
  CHECK(plain.format == "DICOM");
  CHECK(plain.bits == 16);
  CHECK(plain.frames == 1);
  CHECK_FALSE(plain.inverted);
  CHECK(plain.suggested_window == Window::automatic());
  CHECK(plain.extents() == promiseg::Extents<3>{1, 3, 1});
  CHECK(floats_of(plain) == std::vector<float>{0, 1000, 65535});

  dicom.text(DCM_RescaleSlope, "0.25");
  dicom.text(DCM_RescaleIntercept, "-1024");
  dicom.save(folder / "scaled");
  CHECK(floats_of(read_image(folder / "scaled")) ==
        std::vector<float>{-1024, -774, 65535 * 0.25f - 1024});
}

TEST_CASE("DICOM: signed values, few bits stored, and overlays above them") {
  const TemporaryFolder folder;
  Dicom dicom(1, 3);
  dicom.number(DCM_PixelRepresentation, 1);
  dicom.words({0xffff, 0x8000, 0x7fff});
  dicom.save(folder / "16");
  CHECK(floats_of(read_image(folder / "16")) == std::vector<float>{-1, -32768, 32767});

  dicom.number(DCM_BitsStored, 12);
  dicom.number(DCM_HighBit, 11);
  dicom.words({0xffff, 0x1800, 0xf7ff});
  dicom.save(folder / "12");
  CHECK(floats_of(read_image(folder / "12")) == std::vector<float>{-1, -2048, 2047});
  CHECK(read_image(folder / "12").bits == 12);

  dicom.number(DCM_PixelRepresentation, 0);
  dicom.number(DCM_HighBit, 13);
  dicom.words({0xfffc, 0xc000, 0x0007});
  dicom.save(folder / "shifted");
  CHECK(floats_of(read_image(folder / "shifted")) == std::vector<float>{4095, 0, 1});
}

TEST_CASE("DICOM: bytes, of an odd count too") {
  const TemporaryFolder folder;
  Dicom dicom(1, 3, "MONOCHROME2", 8);
  dicom.bytes({1, 200, 255});
  for (E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit,
                                  EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit}) {
    dicom.save(folder / "8", syntax);
    CHECK(floats_of(read_image(folder / "8")) == std::vector<float>{1, 200, 255});
  }
}

TEST_CASE("DICOM: every uncompressed transfer syntax, and files without a preamble") {
  const TemporaryFolder folder;
  Dicom dicom(5, 7);
  const std::vector<Uint16> words = ramp(5 * 7);
  const std::vector<float> expected(words.begin(), words.end());
  dicom.words(words);
  for (E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit,
                                  EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit}) {
    dicom.save(folder / "f", syntax);
    CHECK(floats_of(read_image(folder / "f")) == expected);
  }
  for (E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit}) {
    dicom.save(folder / "bare", syntax, EWM_dataset);
    CHECK(floats_of(read_image(folder / "bare")) == expected);
  }
}

TEST_CASE("DICOM: the file's window is the linear one of PS3.3 C.11.2.1.2") {
  const TemporaryFolder folder;
  Dicom dicom(1, 5);
  dicom.text(DCM_RescaleIntercept, "-1024");
  dicom.text(DCM_WindowCenter, "40\\300");
  dicom.text(DCM_WindowWidth, "400\\1500");
  dicom.words({0, 863, 864, 1063, 1264});  // -1024, -161, -160, 39, 240
  dicom.save(folder / "w");
  const RawImage raw = read_image(folder / "w");
  REQUIRE(raw.suggested_window.has_value());
  CHECK(raw.suggested_window->range == ValueRange{-160, 239});
  // ((39 - 39.5) / 399 + 0.5) * 255 = 127.18
  CHECK(bytes_of(to_8bit(raw)) == std::vector<int>{0, 0, 0, 127, 255});
  CHECK(bytes_of(to_8bit(raw, Window::fixed(-1024, 240))) ==
        std::vector<int>{0, 174, 174, 214, 255});

  dicom.text(DCM_VOILUTFunction, "LINEAR_EXACT");
  dicom.save(folder / "e");
  CHECK(read_image(folder / "e").suggested_window->range == ValueRange{-160, 240});
  dicom.text(DCM_VOILUTFunction, "LINEAR");
  dicom.text(DCM_WindowWidth, "1");
  dicom.save(folder / "1");
  CHECK(bytes_of(to_8bit(read_image(folder / "1"))) == std::vector<int>{0, 0, 0, 0, 255});
  dicom.text(DCM_WindowWidth, "0");
  dicom.save(folder / "0");
  CHECK(read_image(folder / "0").suggested_window == Window::automatic());
}

TEST_CASE("DICOM: MONOCHROME1 comes out bright where it is bright") {
  const TemporaryFolder folder;
  Dicom dicom(1, 3, "MONOCHROME1");
  dicom.words({0, 100, 200});
  dicom.save(folder / "m1");
  const RawImage raw = read_image(folder / "m1");
  CHECK(floats_of(raw) == std::vector<float>{0, 100, 200});
  CHECK(raw.inverted);
  CHECK(bytes_of(to_8bit(raw, Window::fixed(0, 200))) == std::vector<int>{255, 127, 0});
}

TEST_CASE("DICOM: frames, with their own rescaling and window in enhanced objects") {
  const TemporaryFolder folder;
  Dicom dicom(1, 2);
  dicom.text(DCM_NumberOfFrames, "3");
  dicom.words({1, 2, 3, 4, 5, 6});
  dicom.save(folder / "f");
  for (Index frame = 0; frame < 3; ++frame) {
    const RawImage raw = read_image(folder / "f", frame);
    CHECK(raw.frames == 3);
    const auto first = static_cast<float>(2 * frame + 1);
    CHECK(floats_of(raw) == std::vector<float>{first, first + 1});
  }
  check_contains(refusal(folder / "f", ErrorCode::invalid_argument, 3), "has 3 frames");
  check_contains(refusal(folder / "f", ErrorCode::invalid_argument, -1), "frame -1");

  DcmItem* group = nullptr;
  DcmItem* item = nullptr;
  dicom.data().findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, group, 0);
  group->findOrCreateSequenceItem(DCM_FrameVOILUTSequence, item, 0);
  item->putAndInsertString(DCM_WindowCenter, "10.5");
  item->putAndInsertString(DCM_WindowWidth, "11");
  for (signed long frame = 0; frame < 3; ++frame) {
    dicom.data().findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, group, frame);
    group->findOrCreateSequenceItem(DCM_PixelValueTransformationSequence, item, 0);
    item->putAndInsertString(DCM_RescaleSlope, std::to_string(frame + 1).c_str());
    item->putAndInsertString(DCM_RescaleIntercept, "0.5");
  }
  dicom.save(folder / "e");
  const RawImage raw = read_image(folder / "e", 2);
  CHECK(floats_of(raw) == std::vector<float>{15.5f, 18.5f});
  CHECK(raw.suggested_window->range == ValueRange{5, 15});
}

TEST_CASE("DICOM: RLE, JPEG-LS and lossless JPEG give back the exact values of each frame") {
  const promiseg::detail::DcmtkSilence silence;  // encoders talk too
  DcmRLEEncoderRegistration::registerCodecs();
  DJEncoderRegistration::registerCodecs();
  DJLSEncoderRegistration::registerCodecs();
  const TemporaryFolder folder;
  const std::vector<Uint16> words = ramp(2 * 20 * 30);
  const DcmRLERepresentationParameter rle;
  const DJLSRepresentationParameter jpeg_ls(0, OFTrue);
  const DJ_RPLossless jpeg;
  const std::vector<std::pair<E_TransferSyntax, const DcmRepresentationParameter*>> kinds{
      {EXS_RLELossless, &rle}, {EXS_JPEGLSLossless, &jpeg_ls}, {EXS_JPEGProcess14SV1, &jpeg}};
  for (const auto& [syntax, parameter] : kinds) {
    Dicom dicom(20, 30);
    dicom.text(DCM_NumberOfFrames, "2");
    dicom.words(words);
    REQUIRE(dicom.data().chooseRepresentation(syntax, parameter).good());
    dicom.save(folder / "c", syntax);
    CHECK(floats_of(read_image(folder / "c", 0)) ==
          std::vector<float>(words.begin(), words.begin() + 600));
    CHECK(floats_of(read_image(folder / "c", 1)) ==
          std::vector<float>(words.begin() + 600, words.end()));
    const auto read = [](const fs::path& path) { (void)read_image(path, 1); };
    promiseg_test::check_flips(folder / "c", 700, 150, read);
  }
  DcmRLEEncoderRegistration::cleanup();
  DJEncoderRegistration::cleanup();
  DJLSEncoderRegistration::cleanup();
}

TEST_CASE("DICOM: RGB, planes apart, YBR and palettes come as 8-bit RGB") {
  const TemporaryFolder folder;
  Dicom rgb(1, 2, "RGB", 8, 3);
  rgb.bytes({1, 2, 3, 4, 5, 6});
  rgb.save(folder / "rgb");
  const RawImage raw = read_image(folder / "rgb");
  CHECK(raw.extents() == promiseg::Extents<3>{1, 2, 3});
  CHECK(samples_of<std::uint8_t>(raw) == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6});
  CHECK_FALSE(raw.suggested_window.has_value());
  rgb.number(DCM_PlanarConfiguration, 1);
  rgb.save(folder / "planes");
  CHECK(samples_of<std::uint8_t>(read_image(folder / "planes")) ==
        std::vector<std::uint8_t>{1, 3, 5, 2, 4, 6});

  Dicom ybr(1, 2, "YBR_FULL", 8, 3);
  ybr.bytes({76, 85, 255, 128, 128, 128});  // pure red, middle grey
  ybr.save(folder / "ybr");
  const auto colours = samples_of<std::uint8_t>(read_image(folder / "ybr"));
  const std::vector<int> expected{254, 0, 0, 128, 128, 128};
  for (std::size_t i = 0; i < 6; ++i) CHECK(std::abs(int{colours[i]} - expected[i]) <= 1);

  Dicom palette(1, 3, "PALETTE COLOR", 8);
  for (const auto& [descriptor, data, first] :
       {std::tuple{DCM_RedPaletteColorLookupTableDescriptor, DCM_RedPaletteColorLookupTableData,
                   Uint16{0x0100}},
        {DCM_GreenPaletteColorLookupTableDescriptor, DCM_GreenPaletteColorLookupTableData,
         Uint16{0x4000}},
        {DCM_BluePaletteColorLookupTableDescriptor, DCM_BluePaletteColorLookupTableData,
         Uint16{0x8000}}}) {
    const Uint16 description[] = {2, 0, 16};
    const Uint16 entries[] = {first, 0xff00};
    palette.data().putAndInsertUint16Array(descriptor, description, 3);
    palette.data().putAndInsertUint16Array(data, entries, 2);
  }
  palette.bytes({0, 1, 0});
  palette.save(folder / "p");
  CHECK(samples_of<std::uint8_t>(read_image(folder / "p")) ==
        std::vector<std::uint8_t>{1, 0x40, 0x80, 255, 255, 255, 1, 0x40, 0x80});
}

TEST_CASE("DICOM: JPEG 2000 is refused by name") {
  const TemporaryFolder folder;
  Dicom dicom(1, 2);
  auto* sequence = new DcmPixelSequence(DCM_PixelSequenceTag);
  sequence->insert(new DcmPixelItem(DCM_PixelItemTag));
  auto* item = new DcmPixelItem(DCM_PixelItemTag);
  const Uint8 code[] = {0xff, 0x4f, 0xff, 0x51};
  item->putUint8Array(code, 4);
  sequence->insert(item);
  auto* pixels = new DcmPixelData(DCM_PixelData);
  pixels->putOriginalRepresentation(EXS_JPEG2000LosslessOnly, nullptr, sequence);
  dicom.data().insert(pixels, OFTrue);
  dicom.save(folder / "j2k", EXS_JPEG2000LosslessOnly);
  const std::string message = refusal(folder / "j2k", ErrorCode::unsupported);
  check_contains(message, "JPEG 2000");
  check_contains(message, "1.2.840.10008.1.2.4.90");
}

TEST_CASE("DICOM: headers that contradict themselves or hold no picture are refused") {
  const TemporaryFolder folder;
  const auto save = [&](Dicom& dicom) {
    dicom.save(folder / "bad");
    return folder / "bad";
  };
  Dicom none(1, 2);
  check_contains(refusal(save(none), ErrorCode::bad_format), "without a picture");
  Dicom stored(1, 2);
  stored.words({1, 2});
  stored.number(DCM_BitsStored, 17);
  check_contains(refusal(save(stored), ErrorCode::bad_format), "contradictory");
  Dicom huge(1, 2);
  huge.words({1, 2});
  huge.number(DCM_Rows, 65535);
  huge.number(DCM_Columns, 4000);
  check_contains(refusal(save(huge), ErrorCode::bad_format), "truncated");
  Dicom few(1, 2);
  few.words({1});
  check_contains(refusal(save(few), ErrorCode::bad_format), "truncated");
  Dicom few_colours(2, 2, "RGB", 8, 3);
  few_colours.bytes({1, 2, 3, 4, 5, 6});
  check_contains(refusal(save(few_colours), ErrorCode::bad_format), "ends at byte 12");
  Dicom wide(1, 2, "MONOCHROME2", 32);
  wide.words({1, 2, 3, 4});
  check_contains(refusal(save(wide), ErrorCode::unsupported), "32 bits allocated");
  Dicom slope(1, 2);
  slope.words({1, 2});
  slope.text(DCM_RescaleSlope, "0");
  check_contains(refusal(save(slope), ErrorCode::bad_format), "Rescale Slope");
  Dicom samples(1, 2, "RGB", 8, 1);
  samples.bytes({1, 2});
  check_contains(refusal(save(samples), ErrorCode::bad_format), "samples");
}

TEST_CASE("DICOM: truncated files are refused, damaged ones never crash") {
  const TemporaryFolder folder;
  const auto read = [](const fs::path& path) { (void)to_8bit(read_image(path)); };
  Dicom grey(6, 5);
  grey.text(DCM_WindowCenter, "40");
  grey.text(DCM_WindowWidth, "400");
  grey.words(ramp(30));
  grey.save(folder / "grey");
  promiseg_test::check_truncations(folder / "grey", 7, read);
  promiseg_test::check_flips(folder / "grey", 700, 400, read);
  Dicom colour(6, 5, "RGB", 8, 3);
  colour.bytes(std::vector<Uint8>(90, 7));
  colour.save(folder / "colour");
  promiseg_test::check_truncations(folder / "colour", 7, read);
  promiseg_test::check_flips(folder / "colour", 700, 400, read);
}

TEST_CASE("read_image: every format by content, and DCMTK's log level is left as it was") {
  const TemporaryFolder folder;
  OFLogger logger = OFLog::getLogger("dcmtk");
  const auto level = logger.getLogLevel();
  promiseg::write_png(folder / "x.dcm", Image({2, 3, 1}));
  CHECK(read_image(folder / "x.dcm").format == "PNG");
  Dicom dicom(1, 2);
  dicom.words({1, 2});
  dicom.save(folder / "x.png");
  CHECK(read_image(folder / "x.png").format == "DICOM");
  CHECK(logger.getLogLevel() == level);

  const std::string text = "hello, this is not a picture";
  promiseg_test::write_bytes(folder / "t.dcm", text);
  check_contains(
      refusal(folder / "t.dcm", ErrorCode::bad_format),
      "expected PNG, JPEG, TIFF, DICOM or NIfTI, the file begins with \"hello, this is n\"");
  const std::string group8("\x08\0garbage that is no DICOM at all", 34);
  promiseg_test::write_bytes(folder / "g.dcm", group8);
  refusal(folder / "g.dcm", ErrorCode::bad_format);
  promiseg_test::write_bytes(folder / "e.dcm", {});
  check_contains(refusal(folder / "e.dcm", ErrorCode::bad_format), "empty");
  refusal(folder / "none.dcm", ErrorCode::not_found);
}
