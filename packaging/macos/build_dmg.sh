#!/bin/sh
# The disk image for macOS, from what packaging/portable.py gathers:  packaging/macos/build_dmg.sh FOLDER VERSION OUT.dmg
# It is signed ad hoc. For others to open it without a warning, sign it with a Developer ID and notarise it.
# Written by the documentation of macOS's tools; it has not been run yet.
set -eu
source=$1 version=$2 image=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
app="$work/image/Finetune Studio.app"
mkdir -p "$app/Contents/MacOS" "$app/Contents/Resources" "$work/app.iconset"
cp -R "$source/python" "$source/program" "$app/Contents/Resources/"
for size in 16 32 128 256 512; do
    cp "$source/icons/${size}x${size}/apps/finetune-studio.png" "$work/app.iconset/icon_${size}x${size}.png"
done
iconutil --convert icns --output "$app/Contents/Resources/app.icns" "$work/app.iconset"
cat > "$app/Contents/MacOS/finetune-studio" <<'START'
#!/bin/sh
resources=$(cd "$(dirname "$0")/../Resources" && pwd)
exec "$resources/python/bin/python3" -B "$resources/program/packaging/launch.py" "$@"
START
chmod 755 "$app/Contents/MacOS/finetune-studio"
cat > "$app/Contents/Info.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>CFBundleName</key><string>Finetune Studio</string>
<key>CFBundleIdentifier</key><string>org.finetune-studio.app</string>
<key>CFBundleExecutable</key><string>finetune-studio</string>
<key>CFBundleIconFile</key><string>app</string>
<key>CFBundlePackageType</key><string>APPL</string>
<key>CFBundleShortVersionString</key><string>$version</string>
<key>LSMinimumSystemVersion</key><string>14.0</string>
<key>NSHighResolutionCapable</key><true/>
</dict></plist>
PLIST
codesign --force --deep --sign - "$app"
ln -s /Applications "$work/image/Applications"
hdiutil create -volname "Finetune Studio" -srcfolder "$work/image" -format UDZO -ov "$image"
