; The installer for Windows, made by Inno Setup 6 from what packaging/portable.py gathers:
;     iscc /DSource=FOLDER /DVersion=0.1.0 packaging\windows\finetune-studio.iss
; It installs for one user, without an administrator. The first start installs the Python packages (launch.py).
; Written by the documentation of Inno Setup; it has not been run yet.

[Setup]
AppName=Finetune Studio
AppVersion={#Version}
AppId={{6E0C7B0A-5C3B-4F0E-9D52-7E0B1C7F4A21}
DefaultDirName={autopf}\Finetune Studio
PrivilegesRequired=lowest
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
ChangesAssociations=yes
LicenseFile={#Source}\program\LICENSE
OutputBaseFilename=finetune-studio-{#Version}-windows
SetupIconFile={#Source}\icons\finetune-studio.ico
UninstallDisplayIcon={app}\icons\finetune-studio.ico

[Languages]
Name: "en"; MessagesFile: "compiler:Default.isl"

[Files]
Source: "{#Source}\*"; DestDir: "{app}"; Flags: recursesubdirs ignoreversion

[Icons]
Name: "{autoprograms}\Finetune Studio"; Filename: "{app}\python\pythonw.exe"; Parameters: "-B ""{app}\program\packaging\launch.py"""; IconFilename: "{app}\icons\finetune-studio.ico"

[Registry]
Root: HKA; Subkey: "Software\Classes\.toml\OpenWithProgids"; ValueType: string; ValueName: "FinetuneStudio.Configuration"; ValueData: ""; Flags: uninsdeletevalue
Root: HKA; Subkey: "Software\Classes\FinetuneStudio.Configuration"; ValueType: string; ValueData: "Configuration of Finetune Studio"; Flags: uninsdeletekey
Root: HKA; Subkey: "Software\Classes\FinetuneStudio.Configuration\shell\open\command"; ValueType: string; ValueData: """{app}\python\pythonw.exe"" -B ""{app}\program\packaging\launch.py"" ""%1"""; Flags: uninsdeletekey

[Run]
Filename: "{app}\python\pythonw.exe"; Parameters: "-B ""{app}\program\packaging\launch.py"""; Description: "{cm:LaunchProgram,Finetune Studio}"; Flags: postinstall nowait skipifsilent
